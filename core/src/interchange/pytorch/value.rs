//! The values of a pickle.

use std::rc::Rc;

use super::tensor::{Storage, Tensor};
use crate::layout::first_three;

/// A value of a pickle. Containers are places in the [`Pickle`], so that a container may hold itself.
#[derive(Debug, Clone)]
pub enum Value {
    /// A plain value whose content no reader needs, as the text for errors.
    Plain(&'static str),
    Bool(bool),
    Integer(i64),
    Text(Rc<str>),
    /// A tuple, list or set.
    Sequence(usize),
    Dict(usize),
    /// A class or function, by its full Python name.
    Global(Rc<str>),
    /// What calling the named class or function would have made.
    Object(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
}

impl Value {
    /// Python's `None`.
    pub const NONE: Self = Self::Plain("None");

    /// Describes it in errors.
    pub fn describe(&self) -> &str {
        match self {
            Self::Plain(what) => what,
            Self::Bool(_) => "a bool",
            Self::Integer(_) => "a number",
            Self::Text(_) => "a string",
            Self::Sequence(_) => "a tuple or list",
            Self::Dict(_) => "a dictionary",
            Self::Global(name) | Self::Object(name) => name,
            Self::Storage(_) => "a tensor's storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// All values of a pickle.
#[derive(Debug)]
pub struct Pickle {
    /// What was pickled.
    pub root: Value,
    /// Full names of all classes and functions, also of those that no value of the root leads to.
    pub globals: Vec<Rc<str>>,
    /// All storages; one for each mention.
    pub storages: Vec<Rc<Storage>>,
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
}

impl Pickle {
    /// Describes what was pickled, in errors.
    pub fn describe_root(&self) -> String {
        let Value::Dict(place) = self.root else { return self.root.describe().into() };
        let keys: Vec<&str> = self
            .dict(place)
            .iter()
            .map(|(key, _)| if let Value::Text(key) = key { key } else { key.describe() })
            .collect();
        match &keys[..] {
            [] => "an empty dictionary".into(),
            keys => format!("a dictionary with the keys {}", first_three(keys)),
        }
    }

    /// Returns the items of a [`Value::Sequence`].
    pub fn sequence(&self, place: usize) -> &[Value] {
        &self.sequences[place]
    }

    /// Returns the entries of a [`Value::Dict`], in the file's order. A key may occur twice; as in Python, the last
    /// counts.
    pub fn dict(&self, place: usize) -> &[(Value, Value)] {
        &self.dicts[place]
    }

    /// Returns the value of the entry `key` of a [`Value::Dict`].
    pub fn entry(&self, dict: usize, key: &str) -> Option<&Value> {
        let entries = self.dict(dict).iter().rev();
        entries
            .into_iter()
            .find_map(|(name, value)| matches!(name, Value::Text(name) if **name == *key).then_some(value))
    }
}
