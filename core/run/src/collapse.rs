//! Detects from a run's events that it has collapsed: all images have the same embedding, so it learns nothing.

use crate::{
    config::Config,
    event::{Collapse, Evaluated, Event, Step},
    method::MethodKind,
};

/// A lower effective rank is a collapse: the features vary along one direction.
const LEAST_RANK: f64 = 2.0;

/// A higher mean cosine of different images is a collapse, unless the untrained network's was higher still.
const HIGHEST_COSINE: f64 = 0.99;

/// A lower effective number of prototypes is a collapse: all views belong to one.
const LEAST_PROTOTYPES: f64 = 1.01;

/// A loss is at chance level within this fraction of the difference between chance level and the best possible loss.
const LEAST_PROGRESS: f64 = 0.05;

/// Returns whether features with this effective rank (RankMe) have collapsed to one direction.
pub fn has_collapsed(rankme: f64) -> bool {
    rankme < LEAST_RANK
}

/// Watches a run's events for collapse.
#[derive(Debug, Clone, Default)]
pub struct CollapseWatch {
    config: Option<Config>,
    /// The first step that trains the sub-networks.
    slow_start_step: u64,
    steps_per_epoch: u64,
    /// Sum and number of the losses in the latest epoch.
    losses: (f64, u64),
    /// Each width's mean cosine of different images before training.
    untrained_cosines: Vec<(f64, f64)>,
}

impl CollapseWatch {
    /// Processes an event. Returns a sign of collapse if there is one.
    pub fn see(&mut self, event: &Event) -> Option<Collapse> {
        match event {
            Event::Started(started) => {
                *self = Self {
                    config: Some(started.config.clone()),
                    slow_start_step: started.slow_start_step,
                    steps_per_epoch: started.steps_per_epoch,
                    ..Self::default()
                };
                None
            }
            Event::Changed { config, .. } => {
                self.config = Some((**config).clone());
                None
            }
            Event::Step(step) => self.see_step(step),
            Event::Evaluated(evaluated) => self.see_evaluation(evaluated),
            _ => None,
        }
    }

    fn see_evaluation(&mut self, evaluated: &Evaluated) -> Option<Collapse> {
        let Evaluated { step, width, rankme, views, .. } = *evaluated;
        let cosine = views.map(|views| views.cosine_different_images);
        if step == 0 {
            self.untrained_cosines.extend(cosine.map(|cosine| (width, cosine)));
        }
        // Untrained narrow networks may have such values too.
        let is_full = self.config.as_ref()?.widths.first() == Some(&width);
        let trained_from = if is_full { 0 } else { self.slow_start_step };
        if step < trained_from + self.steps_per_epoch {
            return None;
        }
        let untrained = self.untrained_cosines.iter().find(|(other, _)| *other == width).map(|(_, cosine)| *cosine);
        let rank = rankme.filter(|rankme| has_collapsed(*rankme)).map(|rankme| Collapse::Rank { width, rankme });
        let is_too_high = |cosine: &f64| *cosine > HIGHEST_COSINE && untrained.is_none_or(|before| *cosine >= before);
        let belong_to_one = views.and_then(|views| views.prototypes).filter(|number| *number < LEAST_PROTOTYPES);
        let prototypes = belong_to_one.map(|_| Collapse::Prototypes { width });
        // A collapse of the prototypes shows in the others, too, and says more.
        prototypes.or(rank).or_else(|| cosine.filter(is_too_high).map(|cosine| Collapse::Cosine { width, cosine }))
    }

    fn see_step(&mut self, step: &Step) -> Option<Collapse> {
        let config = self.config.as_ref()?;
        let trains_all = step.step > self.slow_start_step;
        let weight = if trains_all { *config.loss_weights().ok()?.first()? } else { 1.0 };
        let (sum, count) = self.losses;
        self.losses = (sum + step.losses.first()? / weight, count + 1);
        if self.losses.1 < self.steps_per_epoch {
            return None;
        }
        let (sum, count) = std::mem::take(&mut self.losses);
        let (loss, Guess { guess, best, candidates }) = (sum / count as f64, Guess::of(config)?);
        // In the first epoch, a network that learns may still be at chance level.
        let is_first = step.step <= self.steps_per_epoch;
        let is_a_guess = (loss - guess).abs() < LEAST_PROGRESS * (guess - best);
        (is_a_guess && !is_first).then_some(Collapse::Loss { loss, guess, candidates })
    }
}

/// Reference values of the full network's loss, without its weight.
struct Guess {
    /// The loss if all candidates are equally similar (chance level).
    guess: f64,
    /// The loss if the positive has similarity 1 and the negatives have 0.
    best: f64,
    /// Number of candidates: the positive and the negatives, or the classes.
    candidates: usize,
}

impl Guess {
    /// Returns `None` for methods whose loss at chance level is not known.
    fn of(config: &Config) -> Option<Self> {
        let (candidates, factor) = match config.method {
            MethodKind::Mocov2 | MethodKind::Simclr | MethodKind::Bingo => (config.candidates()?, 1.0),
            // Two symmetric losses, each times twice the temperature.
            MethodKind::Mocov3 => (config.candidates()?, 4.0 * config.temperature),
            MethodKind::Seed => (1 + config.queue, 1.0),
            MethodKind::Supervised => return Some(Self::among(config.dim)),
            MethodKind::Swav => return Some(Self::among(config.prototypes)),
            MethodKind::Kd | MethodKind::Disco | MethodKind::Compress | MethodKind::Simdis => return None,
        };
        let others = (candidates - 1) as f64;
        let best = (others * (-1.0 / config.temperature).exp()).ln_1p();
        Some(Self { guess: factor * (candidates as f64).ln(), best: factor * best, candidates })
    }

    /// Returns the values for classes or clusters, which a network can name with certainty.
    fn among(candidates: usize) -> Self {
        Self { guess: (candidates as f64).ln(), best: 0.0, candidates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Started, ViewMeasures};

    /// Starts a run of two epochs of ten steps, whose sub-networks are trained in the second.
    fn started(config: &Config) -> CollapseWatch {
        let mut watch = CollapseWatch::default();
        let started = Started {
            config: config.clone(),
            device: String::new(),
            images: 10 * config.batch,
            normalisation: None,
            step: 0,
            steps: 20,
            steps_per_epoch: 10,
            slow_start_step: 10,
            queue_filled_step: None,
            ranks: 1,
            profile: Vec::new(),
        };
        assert_eq!(watch.see(&Event::Started(Box::new(started))), None);
        watch
    }

    /// Returns the collapses detected in such a run with these losses of the full network.
    fn seen(config: &Config, losses: [f64; 20]) -> Vec<Collapse> {
        let mut watch = started(config);
        let step = |(step, loss)| {
            Event::Step(Step { step, loss, losses: vec![loss, 0.0], images_per_second: 1.0, ..Step::default() })
        };
        (1..).zip(losses).filter_map(|numbered| watch.see(&step(numbered))).collect()
    }

    #[test]
    fn an_epoch_at_chance_level_is_a_collapse_at_any_loss_weight() {
        let config = Config { widths: vec![1.0, 0.5], ..Config::cifar10() };
        let guess = 4097.0_f64.ln();
        // The loss of the second half, with weight 1.5, is at chance level too.
        let losses = |first: f64, second: f64| std::array::from_fn(|step| if step < 10 { first } else { 1.5 * second });
        let collapses = seen(&config, losses(guess, guess - 0.2));
        assert_eq!(collapses.len(), 1, "{collapses:?}");
        assert!(matches!(collapses[0], Collapse::Loss { candidates: 4097, .. }), "{collapses:?}");
        assert_eq!(seen(&config, losses(guess, 5.8)), []);
        // One bad step is no collapse, nor is a loss above chance level.
        assert_eq!(seen(&config, std::array::from_fn(|step| if step == 13 { 1.5 * guess } else { 1.5 * 6.0 })), []);
        assert_eq!(seen(&config, losses(9.0, 9.0)), []);
    }

    #[test]
    fn every_method_has_its_chance_level() {
        let of = |method| {
            Guess::of(&Config { method, batch: 8, queue: 64, dim: 10, temperature: 0.5, ..Config::mini() }).unwrap()
        };
        for (method, guess) in [
            (MethodKind::Mocov2, 65.0_f64.ln()),
            (MethodKind::Mocov3, 2.0 * 8.0_f64.ln()),
            (MethodKind::Simclr, 15.0_f64.ln()),
            (MethodKind::Supervised, 10.0_f64.ln()),
        ] {
            let found = of(method);
            assert!((found.guess - guess).abs() < 1e-12 && found.best < found.guess, "{method:?}");
        }
    }

    #[test]
    fn features_of_one_direction_are_a_collapse_once_trained() {
        let mut watch = started(&Config { widths: vec![1.0, 0.25], ..Config::mini() });
        let mut collapses = |step, width, rankme| {
            let evaluated = Evaluated { step, width, rankme, ..Evaluated::default() };
            watch.see(&Event::Evaluated(evaluated)).is_some()
        };
        let low = Some(1.1);
        assert_eq!([0, 9, 10].map(|step| collapses(step, 1.0, low)), [false, false, true]);
        // Trained from step 10 on.
        assert_eq!([10, 19, 20].map(|step| collapses(step, 0.25, low)), [false, false, true]);
        assert!(!collapses(20, 1.0, None) && !collapses(20, 1.0, Some(8.0)));
    }

    #[test]
    fn one_prototype_of_all_images_is_a_collapse_once_trained() {
        let collapses = |number| {
            let mut watch = started(&Config { widths: vec![1.0], ..Config::mini() });
            [0, 9, 10].map(|step| {
                let views = ViewMeasures {
                    cosine_same_image: 1.0,
                    cosine_different_images: 1.0,
                    prototypes: Some(number),
                    ..ViewMeasures::default()
                };
                let evaluated =
                    Evaluated { step, width: 1.0, rankme: Some(1.0), views: Some(views), ..Evaluated::default() };
                watch.see(&Event::Evaluated(evaluated))
            })
        };
        assert_eq!(collapses(1.0), [None, None, Some(Collapse::Prototypes { width: 1.0 })]);
        assert!(matches!(collapses(1.5), [None, None, Some(Collapse::Rank { .. })]));
    }

    #[test]
    fn equal_embeddings_of_different_images_are_a_collapse_once_trained() {
        let collapses = |untrained, trained| {
            let mut watch = started(&Config { widths: vec![1.0, 0.25], ..Config::mini() });
            [(0, untrained), (9, 1.0), (10, trained)].map(|(step, cosine_different_images)| {
                let views =
                    Some(ViewMeasures { cosine_same_image: 1.0, cosine_different_images, ..Default::default() });
                let evaluated = Evaluated { step, width: 1.0, rankme: Some(8.0), views, ..Evaluated::default() };
                watch.see(&Event::Evaluated(evaluated)).is_some()
            })
        };
        assert_eq!(collapses(0.9, 1.0), [false, false, true]);
        assert_eq!(collapses(0.9, 0.95), [false; 3]);
        // It becomes better.
        assert_eq!(collapses(0.996, 0.993), [false; 3]);
    }
}
