//! Widths, and which channels each of them uses (paper section 3.1).

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The widths of a slimmable network, descending; the first is the full network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Widths(Vec<f64>);

/// Why a list of widths makes no slimmable network.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WidthError {
    /// No width was given.
    #[error("the list of widths is empty: give at least one, such as 1.0")]
    Empty,
    /// A width is not a number in (0, 1].
    #[error("width {0} is outside (0, 1]")]
    OutOfRange(f64),
    /// Widths must strictly descend, so that every width has one name and one place.
    #[error("widths must descend without repeats, but {after} follows {before}")]
    NotDescending {
        /// The earlier width.
        before: f64,
        /// The width after it, not smaller.
        after: f64,
    },
    /// The first width is the teacher and the momentum encoder's: the whole network.
    #[error("the first width must be 1.0, the full network, but it is {0}")]
    NotFull(f64),
    /// A layer would have no channel at this width.
    #[error("width {width} leaves none of a layer's {channels} channels: use a wider width or network")]
    NoChannels {
        /// The width in question.
        width: f64,
        /// The layer's channels at full width.
        channels: usize,
    },
}

impl TryFrom<Vec<f64>> for Widths {
    type Error = WidthError;

    fn try_from(widths: Vec<f64>) -> Result<Self, WidthError> {
        let first = *widths.first().ok_or(WidthError::Empty)?;
        if let Some(&width) = widths.iter().find(|w| !(**w > 0.0 && **w <= 1.0)) {
            return Err(WidthError::OutOfRange(width));
        }
        if let Some(pair) = widths.windows(2).find(|pair| pair[1] >= pair[0]) {
            return Err(WidthError::NotDescending { before: pair[0], after: pair[1] });
        }
        if first != 1.0 {
            return Err(WidthError::NotFull(first));
        }
        Ok(Self(widths))
    }
}

impl From<Widths> for Vec<f64> {
    fn from(widths: Widths) -> Self {
        widths.0
    }
}

impl Widths {
    /// Only the full network: an ordinary, non-slimmable one.
    pub fn full() -> Self {
        Self(vec![1.0])
    }

    /// How many widths there are; never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The width at `index`, 0 being the full network.
    pub fn get(&self, index: usize) -> f64 {
        self.0[index]
    }

    /// The widths, widest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.0.iter().copied()
    }

    /// Where `width` stands in the list.
    pub fn position(&self, width: f64) -> Option<usize> {
        self.0.iter().position(|w| *w == width)
    }

    /// Every layer of `channels` channels must keep at least one at every width.
    pub fn check_channels(&self, channels: usize) -> Result<(), WidthError> {
        let narrowest = self.0.len() - 1;
        if Channels::Slim(channels).range(self, narrowest).is_empty() {
            return Err(WidthError::NoChannels { width: self.0[narrowest], channels });
        }
        Ok(())
    }
}

/// One side of a layer: channels that every width uses, or that widths slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// The same at every width: the image's three, a head's output.
    Fixed(usize),
    /// Width `w` uses the leading `floor(c * w)`.
    Slim(usize),
}

impl Channels {
    /// The count at full width.
    pub fn full(self) -> usize {
        match self {
            Self::Fixed(channels) | Self::Slim(channels) => channels,
        }
    }

    /// The channels that the width at `index` uses.
    pub fn range(self, widths: &Widths, index: usize) -> Range<usize> {
        match self {
            Self::Fixed(channels) => 0..channels,
            Self::Slim(channels) => 0..(channels as f64 * widths.get(index)).floor() as usize,
        }
    }

    /// How many channels the width at `index` uses.
    pub fn at(self, widths: &Widths, index: usize) -> usize {
        self.range(widths, index).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_leading_and_floored() {
        let widths = Widths::try_from(vec![1.0, 0.75, 0.3]).unwrap();
        assert_eq!(Channels::Slim(10).range(&widths, 1), 0..7);
        assert_eq!(Channels::Slim(10).range(&widths, 2), 0..3);
        assert_eq!(Channels::Fixed(3).range(&widths, 2), 0..3);
    }

    #[test]
    fn bad_lists_are_refused() {
        let refused = |widths: &[f64]| Widths::try_from(widths.to_vec()).unwrap_err();
        assert_eq!(refused(&[]), WidthError::Empty);
        assert_eq!(refused(&[1.0, 0.0]), WidthError::OutOfRange(0.0));
        assert_eq!(refused(&[1.5]), WidthError::OutOfRange(1.5));
        assert!(matches!(refused(&[f64::NAN]), WidthError::OutOfRange(_)));
        assert_eq!(refused(&[0.5]), WidthError::NotFull(0.5));
        assert!(matches!(refused(&[1.0, 0.5, 0.5]), WidthError::NotDescending { .. }));
        let thin = Widths::try_from(vec![1.0, 0.05]).unwrap();
        assert_eq!(thin.check_channels(16), Err(WidthError::NoChannels { width: 0.05, channels: 16 }));
    }
}
