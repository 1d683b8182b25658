//! Widths, and which channels each of them uses (paper section 3.1).

use std::ops::Range;

use thiserror::Error;

/// The widths of a slimmable network, descending; the first is the full network.
#[derive(Debug, Clone, PartialEq)]
pub struct Widths {
    widths: Vec<f64>,
    slices: Slices,
}

/// How the sub-networks' slices of the full network lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slices {
    /// Each width uses the leading channels: a narrower network's are a wider one's too.
    Nested,
    /// The sub-networks' channels lie end to end, the narrowest first: they share none with each other,
    /// only with the full network.
    Disjoint,
}

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
    /// Disjoint sub-networks must fit into the full network side by side.
    #[error("the widths below 1.0 sum to {0}, but sub-networks that share no channels fit only up to 1.0")]
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
        Ok(Self { widths, slices: Slices::Nested })
    }
}

impl Widths {
    /// Only the full network: an ordinary, non-slimmable one.
    pub fn full() -> Self {
        Self { widths: vec![1.0], slices: Slices::Nested }
    }

    /// The same widths, with slices that lie so to each other.
    ///
    /// # Errors
    /// If disjoint sub-networks do not fit into the full one.
    pub fn with_slices(self, slices: Slices) -> Result<Self, WidthError> {
        let sum: f64 = self.widths[1..].iter().sum();
        if slices == Slices::Disjoint && sum > 1.0 {
            return Err(WidthError::NotDisjoint(sum));
        }
        Ok(Self { slices, ..self })
    }

    /// How the sub-networks' slices lie to each other.
    pub fn slices(&self) -> Slices {
        self.slices
    }

    /// How many widths there are; never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.widths.len()
    }

    /// The width at `index`, 0 being the full network.
    pub fn get(&self, index: usize) -> f64 {
        self.widths[index]
    }

    /// The widths, widest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.widths.iter().copied()
    }

    /// Where `width` stands in the list.
    pub fn position(&self, width: f64) -> Option<usize> {
        self.widths.iter().position(|w| *w == width)
    }

    /// Every layer of `channels` channels must keep at least one at every width.
    pub fn check_channels(&self, channels: usize) -> Result<(), WidthError> {
        let narrowest = self.len() - 1;
        if Channels::Slim(channels).range(self, narrowest).is_empty() {
            return Err(WidthError::NoChannels { width: self.get(narrowest), channels });
        }
        Ok(())
    }
}

/// The channels that a layer of `channels` keeps at width `factor`: `floor(c * w)`.
pub(crate) fn portion(channels: usize, factor: f64) -> usize {
    (channels as f64 * factor).floor() as usize
}

/// One side of a layer: channels that every width uses, or that widths slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// The same at every width: the image's three, a head's output.
    Fixed(usize),
    /// Width `w` uses `floor(c * w)`: the leading ones, or a range of its own ([`Slices`]).
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
            Self::Slim(channels) => {
                let count = |index| portion(channels, widths.get(index));
                let start = match widths.slices() {
                    Slices::Disjoint if index > 0 => (index + 1..widths.len()).map(count).sum(),
                    _ => 0,
                };
                start..start + count(index)
            }
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
    fn disjoint_slices_lie_end_to_end_inside_the_full_network() {
        let widths = Widths::try_from(vec![1.0, 0.5, 0.25]).unwrap().with_slices(Slices::Disjoint).unwrap();
        let ranges: Vec<_> = (0..3).map(|index| Channels::Slim(128).range(&widths, index)).collect();
        assert_eq!(ranges, [0..128, 32..96, 0..32]);
        assert_eq!(Channels::Fixed(3).range(&widths, 1), 0..3);
        let widths = Widths::try_from(vec![1.0, 0.75, 0.5]).unwrap();
        assert_eq!(widths.with_slices(Slices::Disjoint), Err(WidthError::NotDisjoint(1.25)));
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
