//! Compares with numbers computed by the authors' code: the cases in `fixtures/parity`, or in the folder named by
//! `SLIMCLR_PARITY_DIR`.
//!
//! Each case runs in f32 within the tolerances of the folder's README. Cases that compare tensors also run in f64
//! within 1e-7, which tests the arithmetic more strictly.

mod compare;
mod fill;
mod optimizers;
mod runners;
mod two_stage;

use std::{fs, path::PathBuf};

use burn::tensor::DType;
use compare::Differences;
use serde_json::Value;
use two_stage::{bags, compress, contrastive, kd, schedules, simdis, swav, training};

fn folder() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity");
    std::env::var_os("SLIMCLR_PARITY_DIR").map_or_else(default, PathBuf::from)
}

fn run(case: &Value, dtype: DType) -> Differences {
    match case["case"].as_str() {
        Some("backbone") => runners::backbone(case, dtype),
        Some("mocov2_loss") => runners::mocov2_loss(case, dtype),
        Some("mocov2_training") => runners::mocov2_training(case, dtype),
        Some("mocov3_loss") => runners::mocov3_loss(case, dtype),
        Some("optimizer") => optimizers::optimizer(case, dtype),
        Some("schedule") => runners::schedule(case),
        Some("grad_norm") => runners::grad_norm(case, dtype),
        Some("profile") => runners::profile(case),
        Some("seed_distill_loss") => contrastive::seed_distill_loss(case, dtype),
        Some("kd_loss") => kd::kd_loss(case, dtype),
        Some("disco_loss") => contrastive::disco_loss(case, dtype),
        Some("moco_queue_loss") => contrastive::moco_queue_loss(case, dtype),
        Some("bingo_loss") => contrastive::bingo_loss(case, dtype),
        Some("bingo_bag") => bags::bingo_bag(case, dtype),
        Some("compress_loss") => compress::compress_loss(case, dtype),
        Some("simdis_loss") => simdis::simdis_loss(case, dtype),
        Some("swav_sinkhorn") => swav::swav_sinkhorn(case, dtype),
        Some("swav_loss") => swav::swav_loss(case, dtype),
        Some("distill_training") => training::distill_training(case, dtype),
        Some("two_stage_schedule") => schedules::two_stage_schedule(case),
        unknown => panic!("unknown case {unknown:?}"),
    }
}

#[test]
fn every_case() {
    let folder = folder();
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(!files.is_empty(), "{} has no cases", folder.display());

    let mut failures = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let case: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let precisions: &[DType] =
            if matches!(case["case"].as_str(), Some("schedule" | "profile" | "two_stage_schedule")) {
                &[DType::F64]
            } else {
                &[DType::F32, DType::F64]
            };
        for dtype in precisions {
            let differences = run(&case, *dtype);
            let verdict = if differences.found.is_empty() { "passed" } else { "FAILED" };
            println!("{name} in {dtype:?}: {verdict} ({} numbers compared)", differences.compared);
            assert!(differences.compared > 0, "{name} compared nothing");
            failures.extend(differences.found.into_iter().map(|found| format!("{name} in {dtype:?}: {found}")));
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
