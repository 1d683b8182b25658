//! The protocol of the experiments whose results are published (docs/protocol.md).

use slimclr_core::config::Config;

/// Training images, a class-balanced subset.
pub const IMAGES: usize = 20_000;

/// Returns the options that all arms share. They were chosen on the plain and the naive network alone, and are frozen:
/// with others, earlier results cannot be compared.
pub fn config() -> Config {
    Config {
        depth: 8,
        teacher_depth: 8,
        teacher_multiplier: 2.0,
        image_size: 16,
        bn_splits: 1,
        epochs: 10.0,
        batch: 64,
        evaluate_every: 5.0,
        ..Config::cifar10()
    }
}
