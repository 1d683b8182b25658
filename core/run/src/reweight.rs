//! Loss reweighting: the full network's loss gets a larger weight (paper section 3.3).

use serde::{Deserialize, Serialize};
use slimclr_network::width::Widths;
use thiserror::Error;

/// A scheme of loss weights, by its number in the authors' code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Reweighting {
    /// 0: every width has weight 1.
    Equal,
    /// 1: the width's share, `w / sum`, to three digits.
    Share,
    /// 2: the width itself.
    Width,
    /// 3: `n` times the width's share, to three digits.
    ScaledShare,
    /// 5: the full network `1 + ` the sum of the other widths, the others 1. The paper's choice.
    FullTakesAll,
    /// 6: every width `1 + ` the sum of the narrower ones, scaled to sum to `n`, to three digits.
    Cascade,
    /// 7: the full network `1 + ` the second width, the others 1.
    FullTakesNext,
}

/// A number without a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no loss reweighting {0}: choose from 0, 1, 2, 3, 5, 6, 7")]
pub struct UnknownReweighting(u8);

/// The schemes with their numbers. There is no 4.
const NUMBERED: [(u8, Reweighting); 7] = [
    (0, Reweighting::Equal),
    (1, Reweighting::Share),
    (2, Reweighting::Width),
    (3, Reweighting::ScaledShare),
    (5, Reweighting::FullTakesAll),
    (6, Reweighting::Cascade),
    (7, Reweighting::FullTakesNext),
];

impl TryFrom<u8> for Reweighting {
    type Error = UnknownReweighting;

    fn try_from(number: u8) -> Result<Self, UnknownReweighting> {
        NUMBERED.iter().find(|(n, _)| *n == number).map(|(_, scheme)| *scheme).ok_or(UnknownReweighting(number))
    }
}

impl From<Reweighting> for u8 {
    fn from(scheme: Reweighting) -> Self {
        NUMBERED.iter().find(|(_, s)| *s == scheme).map(|(n, _)| *n).expect("every scheme has a number")
    }
}

impl std::str::FromStr for Reweighting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: u8 = text.parse().map_err(|_| format!("'{text}' is not a number from 0 to 7"))?;
        Self::try_from(number).map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Reweighting {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        u8::from(*self).fmt(f)
    }
}

impl Reweighting {
    /// Returns the weight of each width's loss, widest first.
    pub fn weights(self, widths: &Widths) -> Vec<f64> {
        let all: Vec<f64> = widths.iter().collect();
        let (count, sum) = (all.len() as f64, all.iter().sum::<f64>());
        // Rounds ties to even, as Python does for 1.3125.
        let to_three_digits = |x: f64| format!("{x:.3}").parse().unwrap_or(x);
        let full_takes = |extra: f64| {
            let mut weights = vec![1.0; all.len()];
            weights[0] += extra;
            weights
        };
        match self {
            Self::Equal => vec![1.0; all.len()],
            Self::Share => all.iter().map(|w| to_three_digits(w / sum)).collect(),
            Self::Width => all,
            Self::ScaledShare => all.iter().map(|w| to_three_digits(count * w / sum)).collect(),
            Self::FullTakesAll => full_takes(all[1..].iter().sum()),
            Self::Cascade => {
                let raw: Vec<f64> = (1..=all.len()).map(|i| 1.0 + all[i..].iter().sum::<f64>()).collect();
                let total: f64 = raw.iter().sum();
                raw.iter().map(|weight| to_three_digits(count * weight / total)).collect()
            }
            Self::FullTakesNext => full_takes(all.get(1).copied().unwrap_or(0.0)),
        }
    }
}
