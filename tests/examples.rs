//! The examples run.

#[path = "../examples/custom_backbone.rs"]
mod custom_backbone;
#[path = "../examples/custom_objective.rs"]
mod custom_objective;
#[path = "../examples/embed.rs"]
mod embed;
#[path = "../examples/load_pretrained.rs"]
mod load_pretrained;
#[path = "../examples/train_loop.rs"]
mod train_loop;

#[test]
fn a_custom_backbone_trains() {
    custom_backbone::main().unwrap();
}

#[test]
fn a_custom_objective_trains() {
    custom_objective::main().unwrap();
}

#[test]
fn a_network_finds_similar_pictures() {
    embed::main().unwrap();
}

#[test]
fn a_pretrained_network_loads() {
    load_pretrained::main().unwrap();
}

#[test]
fn a_custom_loop_trains() {
    train_loop::main().unwrap();
}
