//! Widths, and which channels each of them uses (paper section 3.1).

use std::ops::Range;

use thiserror::Error;

/// The widths of a slimmable network, descending; the first is the full network.
#[derive(Debug, Clone, PartialEq)]
pub struct Widths {
    widths: Vec<f64>,
    slicing: Slicing,
}

/// Which channels of the full network the sub-networks use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slicing {
    /// Each width uses the leading channels, so a wider network's include a narrower one's.
    Nested,
    /// The sub-networks use consecutive ranges, narrowest first, and share channels with the full network only.
    Disjoint,
}

/// Why a list of widths is not valid.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WidthError {
    /// No width was given.
    #[error("the list of widths is empty: give at least one, such as 1.0")]
    Empty,
    /// A width is not a number in (0, 1].
    #[error("width {0} must be above 0 and at most 1")]
    OutOfRange(f64),
    /// The widths do not strictly descend.
    #[error("widths must descend without repeats, but {after} follows {before}")]
    NotDescending {
        /// The earlier width.
        before: f64,
        /// The width after it, not smaller.
        after: f64,
    },
    /// The first width is not the full network, which is the teacher and the momentum encoder.
    #[error("the first width must be 1.0, the full network, but it is {0}")]
    NotFull(f64),
    /// Disjoint sub-networks do not fit into the full network.
    #[error("the widths below 1.0 sum to {0}, but disjoint sub-networks must sum to at most 1.0: use narrower ones")]
    NotDisjoint(f64),
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
        Ok(Self { widths, slicing: Slicing::Nested })
    }
}

impl Widths {
    /// Returns the full network alone: an ordinary, non-slimmable network.
    pub fn full() -> Self {
        Self { widths: vec![1.0], slicing: Slicing::Nested }
    }

    /// Returns the same widths, sliced in this way.
    ///
    /// # Errors
    /// If disjoint sub-networks do not fit into the full network.
    pub fn with_slicing(self, slicing: Slicing) -> Result<Self, WidthError> {
        let sum: f64 = self.widths[1..].iter().sum();
        if slicing == Slicing::Disjoint && sum > 1.0 {
            return Err(WidthError::NotDisjoint(sum));
        }
        Ok(Self { slicing, ..self })
    }

    /// Returns which channels the sub-networks use.
    pub fn slicing(&self) -> Slicing {
        self.slicing
    }

    /// Returns the number of widths; never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.widths.len()
    }

    /// Returns the width at `index`; 0 is the full network.
    pub fn get(&self, index: usize) -> f64 {
        self.widths[index]
    }

    /// Iterates over the widths, widest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.widths.iter().copied()
    }

    /// Returns the index of `width`.
    pub fn position(&self, width: f64) -> Option<usize> {
        self.widths.iter().position(|w| *w == width)
    }

    /// Checks that a layer of `channels` channels keeps at least one at every width.
    pub fn check_channels(&self, channels: usize) -> Result<(), WidthError> {
        let narrowest = self.len() - 1;
        if Channels::Slim(channels).range(self, narrowest).is_empty() {
            return Err(WidthError::NoChannels { width: self.get(narrowest), channels });
        }
        Ok(())
    }
}

/// Returns how many of `channels` a layer keeps at width `factor`: `floor(c * w)`.
pub fn portion(channels: usize, factor: f64) -> usize {
    (channels as f64 * factor).floor() as usize
}

/// The input or output channels of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// The same at every width: an image's three, a head's outputs.
    Fixed(usize),
    /// Width `w` uses `floor(c * w)` of them; [`Slicing`] says which.
    Slim(usize),
}

impl Channels {
    /// The images' three colours. Convolutions with these inputs must see the images themselves, not features.
    pub const IMAGE: Self = Self::Fixed(3);

    /// Returns the count at full width.
    pub fn full(self) -> usize {
        match self {
            Self::Fixed(channels) | Self::Slim(channels) => channels,
        }
    }

    /// Returns the channels that the width at `index` uses.
    pub fn range(self, widths: &Widths, index: usize) -> Range<usize> {
        match self {
            Self::Fixed(channels) => 0..channels,
            Self::Slim(channels) => {
                let count = |index| portion(channels, widths.get(index));
                let start = match widths.slicing() {
                    Slicing::Disjoint if index > 0 => (index + 1..widths.len()).map(count).sum(),
                    _ => 0,
                };
                start..start + count(index)
            }
        }
    }

    /// Returns how many channels the width at `index` uses.
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
    fn disjoint_slices_are_consecutive_ranges() {
        let widths = Widths::try_from(vec![1.0, 0.5, 0.25]).unwrap().with_slicing(Slicing::Disjoint).unwrap();
        let ranges: Vec<_> = (0..3).map(|index| Channels::Slim(128).range(&widths, index)).collect();
        assert_eq!(ranges, [0..128, 32..96, 0..32]);
        assert_eq!(Channels::Fixed(3).range(&widths, 1), 0..3);
        let widths = Widths::try_from(vec![1.0, 0.75, 0.5]).unwrap();
        assert_eq!(widths.with_slicing(Slicing::Disjoint), Err(WidthError::NotDisjoint(1.25)));
    }

    #[test]
    fn invalid_widths_are_errors() {
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
