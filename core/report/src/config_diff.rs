//! The differences between two configurations, as text.

use slimclr_run::{config::Config, distill::Distillation, schedule::Decay, surgery::Surgery};

/// Returns each training option of `after` that differs from `before`, in a few words.
pub fn differences(before: &Config, after: &Config) -> Vec<String> {
    let number =
        |name: &str, of: fn(&Config) -> f64| (of(before) != of(after)).then(|| format!("{name} {}", of(after)));
    let teachers =
        if after.full_distill { "all wider networks are teachers" } else { "only the full network is a teacher" };
    [
        (before.distill != after.distill).then(|| distillation(before.distill, after.distill)),
        number("distillation weight", |config| config.distill_weight),
        number("teacher temperature", |config| config.teacher_temperature),
        number("student temperature", |config| config.student_temperature),
        (before.full_distill != after.full_distill).then(|| teachers.into()),
        (before.reweighting != after.reweighting).then(|| format!("reweighting {}", u8::from(after.reweighting))),
        number("slow start", |config| config.slow_start),
        (before.surgery != after.surgery).then(|| surgery(after.surgery).into()),
        number("learning rate", |config| config.learning_rate),
        number("learning-rate factor after slow start", |config| config.slim_rate_factor),
        number("warm-up", |config| config.warmup),
        number("first learning rate of the warm-up", |config| config.warmup_start),
        (before.decay != after.decay).then(|| decay(after.decay).into()),
        number("final learning rate", |config| config.final_rate),
        (before.milestones != after.milestones).then(|| format!("milestones {:?}", after.milestones)),
        number("factor at each milestone", |config| config.milestone_factor),
        number("gradient clipping", |config| config.clip_norm),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn distillation(before: Distillation, after: Distillation) -> String {
    let kind = match after {
        Distillation::None => return "distillation off".into(),
        // The default kind needs no name.
        Distillation::Seed if before == Distillation::None => return "distillation on".into(),
        Distillation::Seed => "SEED",
        Distillation::Inplace => "in-place",
        Distillation::MseEmbeddings => "MSE of embeddings",
        Distillation::MseLogits => "MSE of logits",
        Distillation::Dkd => "DKD",
        Distillation::Atkd => "ATKD",
    };
    format!("distillation: {kind}")
}

fn decay(after: Decay) -> &'static str {
    match after {
        Decay::Cosine => "cosine decay",
        Decay::EpochCosine => "cosine decay by epoch",
        Decay::Swav => "SwAV's cosine decay",
        Decay::Step => "step decay",
        Decay::Poly => "poly decay",
        Decay::Htd => "htd decay",
        Decay::Constant => "constant decay",
    }
}

fn surgery(after: Surgery) -> &'static str {
    match after {
        Surgery::None => "surgery off",
        Surgery::Pcgrad => "PCGrad",
        Surgery::Cagrad => "CAGrad",
    }
}

#[cfg(test)]
mod tests {
    use slimclr_run::reweight::Reweighting;

    use super::*;

    #[test]
    fn only_differences_are_named() {
        let before = Config::mini();
        assert!(differences(&before, &before).is_empty());
        // How often a run is evaluated is not an option of training.
        assert!(differences(&before, &Config { evaluate_every: 1.0, ..before.clone() }).is_empty());
        let after = Config {
            distill: Distillation::None,
            reweighting: Reweighting::Equal,
            slow_start: 0.0,
            learning_rate: 0.1,
            surgery: Surgery::Pcgrad,
            ..before.clone()
        };
        let expected = ["distillation off", "reweighting 0", "slow start 0", "PCGrad", "learning rate 0.1"];
        assert_eq!(differences(&before, &after), expected);
        assert_eq!(differences(&after, &before)[..2], ["distillation on", "reweighting 5"]);
    }
}
