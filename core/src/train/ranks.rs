//! Whether all ranks train the same run.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::TrainError;
use crate::{config::Config, dataset::DatasetSummary, method::Trainer};

/// Checks that the ranks have the same program, options, images and weights as rank 0.
///
/// # Errors
/// On a rank that has others. The others wait for it then, until the program ends them.
pub(super) async fn check_same<E: std::error::Error + 'static>(
    state: &Trainer,
    config: &Config,
    dataset: &DatasetSummary,
) -> Result<(), TrainError<E>> {
    let ranks = &state.ranks;
    if ranks.is_single() {
        return Ok(());
    }
    let weights = state.query.packed().into_data_async().await?;
    let digests = [
        ("version of the program", digest(env!("CARGO_PKG_VERSION"))),
        ("set of options", digest(format!("{config:?}"))),
        ("set of images", digest(format!("{dataset:?}"))),
        ("state of the run", digest((state.steps, weights.as_bytes()))),
    ];
    for (what, digest) in digests {
        let own = digest.to_le_bytes().to_vec();
        if ranks.broadcast(own.clone()) != own {
            return Err(TrainError::OtherRank { what });
        }
    }
    Ok(())
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
