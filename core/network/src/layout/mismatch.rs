//! Compares the tensors of a file with a network's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use thiserror::Error;

/// Shapes of tensors by name, as a file lists them.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Named tensors do not fit a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
pub struct MismatchError {
    /// Tensors that the network needs.
    pub missing: Vec<String>,
    /// Tensors that the network does not have.
    pub extra: Vec<String>,
    /// Tensors whose shape differs from the network's.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor of the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// Its shape in the network.
    pub expected: Vec<usize>,
}

impl MismatchError {
    /// Compares the shapes that a network expects with those found in a file.
    ///
    /// # Errors
    /// If tensors are missing, unknown or of another shape.
    pub fn check(expected: impl IntoIterator<Item = (String, Vec<usize>)>, found: &Shapes) -> Result<(), Self> {
        let mut mismatch = Self::default();
        let mut extra: BTreeSet<&String> = found.keys().collect();
        for (name, expected) in expected {
            extra.remove(&name);
            match found.get(&name) {
                None => mismatch.missing.push(name),
                Some(found) if *found != expected => {
                    mismatch.misshapen.push(Misshapen { name, found: found.clone(), expected });
                }
                Some(_) => {}
            }
        }
        mismatch.extra = extra.into_iter().cloned().collect();
        if mismatch == Self::default() { Ok(()) } else { Err(mismatch) }
    }

    /// Lists what differs, such as `1 missing (fc.2.bias)`.
    pub fn differences(&self) -> String {
        let kinds = [
            (self.missing.len(), "missing", first_three(&self.missing)),
            (self.extra.len(), "unknown", first_three(&self.extra)),
            (self.misshapen.len(), "of another shape", first_three(&self.misshapen)),
        ];
        let kinds = kinds.iter().filter(|(count, ..)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(count, kind, names)| format!("{count} {kind} ({names})")).collect();
        kinds.join("; ")
    }
}

impl fmt::Display for MismatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tensors do not fit the network: {}", self.differences())
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has shape {:?}, not {:?}", self.name, self.found, self.expected)
    }
}

/// Lists items in an error: at most three.
pub fn first_three(items: &[impl ToString]) -> String {
    let shown: Vec<String> = items.iter().take(3).map(ToString::to_string).collect();
    let more = if items.len() > 3 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
