//! The presets, with the reasons for their values.

use slimclr_network::{encoder::BackboneKind, head::HeadKind};

use super::Config;
use crate::{
    compress::CompressMemory, distill::Distillation, method::MethodKind, optimizer::OptimizerKind,
    precision::Precision, reweight::Reweighting, schedule::Decay, simdis::SimdisView, surgery::Surgery,
};

/// The CIFAR-10 preset, which also fills in options that older files lack.
impl Default for Config {
    fn default() -> Self {
        Self::cifar10()
    }
}

impl Config {
    /// Returns the smallest preset: a ResNet-8 with three times the channels on views of 16 pixels, for a few minutes
    /// on a laptop. On 3,050 images, more channels help more than more pixels or epochs.
    pub fn mini() -> Self {
        Self {
            depth: 8,
            multiplier: 3.0,
            teacher_depth: 8,
            teacher_multiplier: 6.0,
            image_size: 16,
            queue: 1024,
            bn_splits: 1,
            temperature: 0.2,
            epochs: 30.0,
            batch: 64,
            evaluate_every: 5.0,
            interference: true,
            ..Self::cifar10()
        }
    }

    /// Returns the authors' CIFAR-10 recipe, but with a batch of 256 instead of 512, and a warm-up. This doubles the
    /// steps at their learning rate, and a plain ResNet-20 reaches a kNN accuracy of 40.9 % after one epoch instead of
    /// two.
    pub fn cifar10() -> Self {
        Self {
            method: MethodKind::Mocov2,
            temperature: 0.1,
            queue: 4096,
            key_momentum: 0.99,
            key_momentum_rises: false,
            bn_splits: 8,
            sync_bn: false,
            teacher: String::new(),
            target_temperature: 0.05,
            kd_weight: 1.0,
            mse_devices: 1,
            mse_only: false,
            bag: 5,
            memory: CompressMemory::Momentum,
            targets: vec![SimdisView::SemaDv, SimdisView::TemaDv],
            cached_teacher: false,
            online_teacher: false,
            teacher_depth: 20,
            teacher_multiplier: 4.0,
            prototypes: 300,
            sinkhorn_epsilon: 0.05,
            sinkhorn_iterations: 3,
            freeze: 1.0,
            queue_after: 15.0,
            small_crops: 0,
            small_size: 16,
            backbone: BackboneKind::Cifar,
            depth: 20,
            multiplier: 1.0,
            widths: vec![1.0, 0.75, 0.5, 0.25],
            disjoint: false,
            dim: 128,
            hidden: HeadKind::Simclr.paper_hidden(),
            wide_head: false,
            slow_start: 0.5,
            distill: Distillation::Seed,
            distill_weight: 0.5,
            teacher_temperature: 5.0,
            student_temperature: 5.0,
            full_distill: false,
            reweighting: Reweighting::FullTakesAll,
            surgery: Surgery::None,
            interference: false,
            epochs: 200.0,
            batch: 256,
            accumulate: 1,
            recompute: false,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.06,
            slim_rate_factor: 1.0,
            decay: Decay::Cosine,
            warmup: 0.05,
            warmup_start: 1e-8,
            final_rate: 0.0,
            milestones: vec![120.0, 160.0],
            milestone_factor: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            weight_decay_all: false,
            clip_norm: 0.0,
            precision: Precision::F32,
            image_size: 32,
            strong_colours: false,
            data: "embedded".into(),
            init: String::new(),
            init_width: 1.0,
            label_fraction: 1.0,
            switchable_classifier: false,
            frozen_backbone: false,
            backbone_rate: 1.0,
            stage_decay: 1.0,
            knn: 200,
            knn_images: 50_000,
            evaluate_every: 10.0,
            seed: 0,
            device: "auto".into(),
            checkpoint_every: 1.0,
            scheduled_images: None,
        }
    }

    /// Returns MoCo v2 on ImageNet, for a total batch of 1024 (paper section 4.1).
    pub fn imagenet_mocov2() -> Self {
        Self {
            backbone: BackboneKind::Resnet,
            depth: 50,
            queue: 65536,
            key_momentum: 0.999,
            temperature: 0.2,
            // The paper's batch of 1024 was spread over 8 GPUs.
            bn_splits: 8,
            batch: 1024,
            learning_rate: 0.2,
            weight_decay: 1e-4,
            image_size: 224,
            data: "imagenet".into(),
            ..Self::cifar10()
        }
    }

    /// Returns MoCo v3 on CIFAR-10: the ImageNet recipe at batch 512.
    pub fn cifar10_mocov3() -> Self {
        Self { batch: 512, learning_rate: 0.6, epochs: 200.0, ..Self::cifar10().with_mocov3() }
    }

    /// Returns MoCo v3 on ImageNet (paper section 4.1).
    pub fn imagenet_mocov3() -> Self {
        Self { learning_rate: 1.2, epochs: 300.0, ..Self::imagenet_mocov2().with_mocov3() }
    }

    /// Returns the supervised slimmable network on ImageNet.
    pub fn imagenet_supervised() -> Self {
        Self { dim: 1000, epochs: 100.0, learning_rate: 0.4, ..Self::imagenet_mocov2().with_supervised() }
    }

    /// Returns the same options for the supervised slimmable network (Yu et al. 2019): the full network learns from the
    /// labels, the sub-networks from the full network.
    pub fn with_supervised(self) -> Self {
        Self {
            method: MethodKind::Supervised,
            bn_splits: 1,
            slow_start: 0.0,
            distill: Distillation::Inplace,
            distill_weight: 1.0,
            teacher_temperature: 1.0,
            student_temperature: 1.0,
            full_distill: false,
            reweighting: Reweighting::Equal,
            ..self
        }
    }

    /// Returns the same options for fine-tuning a trained network: each width has a classifier, which learns faster than
    /// the backbone. All widths learn from the labels, as in the authors' supervised script.
    pub fn with_fine_tuning(self) -> Self {
        Self {
            switchable_classifier: true,
            distill: Distillation::None,
            interference: false,
            optimizer: OptimizerKind::Sgd,
            surgery: Surgery::None,
            small_crops: 0,
            // Values of other methods that this one refuses.
            queue: self.queue.max(1),
            cached_teacher: false,
            mse_devices: 1,
            epochs: 30.0,
            batch: 64,
            accumulate: 1,
            learning_rate: 0.1,
            backbone_rate: 0.5,
            stage_decay: 0.7,
            slim_rate_factor: 1.0,
            decay: Decay::Cosine,
            warmup: 0.0,
            final_rate: 0.0,
            momentum: 0.9,
            weight_decay: 1e-4,
            weight_decay_all: false,
            clip_norm: 0.0,
            evaluate_every: 5.0,
            ..self.with_supervised()
        }
    }

    /// Returns the same options for MoCo v3.
    pub fn with_mocov3(self) -> Self {
        Self {
            method: MethodKind::Mocov3,
            dim: 256,
            hidden: HeadKind::Mocov3.paper_hidden(),
            temperature: 1.0,
            key_momentum: 0.99,
            key_momentum_rises: true,
            bn_splits: 1,
            sync_bn: true,
            teacher_temperature: 1.0,
            student_temperature: 1.0,
            optimizer: OptimizerKind::Lars,
            slim_rate_factor: 3.2 / 1.2,
            warmup: 0.033,
            weight_decay: 1e-6,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;
    use crate::schedule::StepPlan;

    /// Returns the plans of steps, with ten steps per epoch.
    fn plans(config: &Config) -> impl Fn(u64) -> StepPlan + use<> {
        let schedule = config.schedule(10 * config.batch).unwrap();
        move |step| schedule.plan(step)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_run_of_any_method_can_be_fine_tuned() {
        let with = |method| Config { method, ..Config::cifar10() };
        let runs = [
            Config { queue: 0, ..with(MethodKind::Swav) },
            Config { cached_teacher: true, ..with(MethodKind::Compress) },
            Config { mse_devices: 16, ..with(MethodKind::Disco) },
        ];
        for run in runs {
            Config { batch: 2, ..run.with_fine_tuning() }.check().unwrap();
        }
    }

    #[test]
    fn moco_v2_on_imagenet_matches_the_paper() {
        let config = Config::imagenet_mocov2();
        config.check().unwrap();
        assert_eq!((config.dim, config.queue, config.batch, config.epochs), (128, 65536, 1024, 200.0));
        assert_eq!((config.temperature, config.weight_decay, config.optimizer), (0.2, 1e-4, OptimizerKind::Sgd));
        assert_eq!((config.teacher_temperature, config.student_temperature), (5.0, 5.0));
        let plan = plans(&config);
        let warm = plan(100);
        assert_eq!((warm.trains_subnetworks, warm.rate, warm.key_momentum), (false, 0.2, 0.999));
        assert_eq!([999, 1000].map(|step| plan(step).trains_subnetworks), [false, true]);
        assert!(plan(1000).rate < plan(999).rate && close(plan(1999).key_momentum, 0.999));
    }

    #[test]
    fn moco_v3_on_imagenet_matches_the_paper() {
        let config = Config::imagenet_mocov3();
        config.check().unwrap();
        assert_eq!((config.dim, config.hidden, config.batch, config.epochs), (256, 4096, 1024, 300.0));
        assert_eq!((config.temperature, config.weight_decay, config.optimizer), (1.0, 1e-6, OptimizerKind::Lars));
        assert_eq!((config.teacher_temperature, config.student_temperature, config.bn_splits), (1.0, 1.0, 1));
        let plan = plans(&config);
        assert!(close(plan(99).rate, 1.2), "{:?}", plan(99));
        assert_eq!([1499, 1500].map(|step| plan(step).trains_subnetworks), [false, true]);
        let plain = plans(&Config { widths: vec![1.0], ..config.clone() });
        assert_eq!(plan(1499).rate, plain(1499).rate);
        assert!(close(plan(1500).rate, 3.2 / 1.2 * plain(1500).rate), "the rate rises when the sub-networks start");
        assert!(close(plan(0).key_momentum, 0.99) && close(plan(1500).key_momentum, 0.995));
        assert!(plan(2999).key_momentum > 0.999999);
        Config::cifar10_mocov3().check().unwrap();
    }

    #[test]
    fn a_run_that_accepted_other_images_keeps_its_schedule() {
        let config = Config::mini();
        let planned = config.schedule(640).unwrap();
        let config = Config { scheduled_images: Some(640), ..config };
        assert_eq!(config.schedule(6400).unwrap(), planned);
        assert_eq!(config.schedule(64).unwrap(), planned);
        assert!(config.schedule(63).is_err(), "there is no full batch");
    }

    #[test]
    fn supervised_sub_networks_learn_from_the_full_one_alone() {
        let config = Config::imagenet_supervised();
        config.check().unwrap();
        assert_eq!((config.distill, config.distill_weight, config.slow_start), (Distillation::Inplace, 1.0, 0.0));
        assert_eq!(config.clone().for_classes(7).unwrap().encoder().unwrap().outputs, 7);
        assert_eq!(config.for_classes(0), Err(ConfigError::NoLabels("supervised")));
        for classes in [0, 7] {
            assert_eq!(Config::cifar10().for_classes(classes).unwrap().dim, 128);
        }
    }
}
