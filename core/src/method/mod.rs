//! Self-supervised methods: what one training step does.

pub mod moco_v2;
