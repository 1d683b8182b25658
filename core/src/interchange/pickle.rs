//! Python's pickles as `torch.save` writes them, read as data: what code they name is neither loaded nor run.
//!
//! A pickle is a program for a machine with a stack. This machine makes plain values, dictionaries and tensors, and of
//! whatever else a pickle would have made only the name.

use std::{collections::HashMap, rc::Rc};

use thiserror::Error;

/// Dimensions beyond which no network has a tensor.
const MOST_DIMENSIONS: usize = 8;

/// Why a pickle cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PickleError {
    /// It is cut short.
    #[error("its pickle ends early")]
    Truncated,
    /// Something stands where it cannot.
    #[error("its pickle is damaged at byte {0}")]
    Damaged(usize),
    /// An instruction beyond those that `torch.save` uses.
    #[error("its pickle has opcode {opcode:#04x} at byte {at}, which torch.save does not write")]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Its place.
        at: usize,
    },
}

/// A value of a pickle. Those that hold others are places in the [`Pickle`], so that values may hold themselves.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Anything that is no tensor and leads to none, in words.
    Plain(&'static str),
    Integer(i64),
    Text(Rc<str>),
    Tuple(usize),
    Dict(usize),
    /// Something of a Python module, by its full name.
    Global(Rc<str>),
    /// An object that the named class or function would have made.
    Opaque(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
}

impl Value {
    /// In words.
    pub fn describe(&self) -> &str {
        match self {
            Self::Plain(what) => what,
            Self::Integer(_) => "a number",
            Self::Text(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Global(name) | Self::Opaque(name) => name,
            Self::Storage(_) => "a tensor's storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// Where a tensor's elements are kept.
#[derive(Debug)]
pub(super) struct Storage {
    /// The Python type, such as `torch.FloatStorage`.
    pub kind: Rc<str>,
    /// Its name in the file.
    pub key: Rc<str>,
}

/// A view into a storage.
#[derive(Debug)]
pub(super) struct Tensor {
    pub storage: Rc<Storage>,
    /// Place of the first element in the storage.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Elements of the storage from one place along a dimension to the next.
    pub strides: Vec<usize>,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    /// What was pickled.
    pub root: Value,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl Pickle {
    /// Reads a pickle.
    pub fn read(bytes: &[u8]) -> Result<Self, PickleError> {
        let mut machine = Machine { bytes, ..Machine::default() };
        let root = machine.run()?;
        Ok(Self { root, dicts: machine.dicts })
    }

    /// The entries of a [`Value::Dict`].
    pub fn dict(&self, place: usize) -> &[(Value, Value)] {
        &self.dicts[place]
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    /// Bytes that were read.
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack where groups of values begin.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            let at = self.at;
            match self.byte()? {
                b'.' => return self.pop(),
                opcode => self.step(opcode, at)?,
            }
        }
    }

    fn step(&mut self, opcode: u8, at: usize) -> Result<(), PickleError> {
        let value = match opcode {
            // The protocol's number, and the length of a frame.
            0x80 => return self.take(1).map(drop),
            0x95 => return self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(());
            }
            b'q' => return self.memoize(1),
            b'r' => return self.memoize(4),
            0x94 => {
                self.memo.insert(self.memo.len(), self.top()?.clone());
                return Ok(());
            }
            b'h' => self.remembered(1)?,
            b'j' => self.remembered(4)?,

            b'N' => Value::Plain("None"),
            0x88 | 0x89 => Value::Plain("a truth value"),
            b'G' => self.take(8).map(|_| Value::Plain("a number"))?,
            b'K' => self.integer(1).map(Value::Integer)?,
            b'M' => self.integer(2).map(Value::Integer)?,
            b'J' => Value::Integer(i64::from(self.integer(4)? as i32)),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.sized(1).map(|_| Value::Plain("bytes"))?,
            b'B' => self.sized(4).map(|_| Value::Plain("bytes"))?,
            0x8e => self.sized(8).map(|_| Value::Plain("bytes"))?,

            b')' => self.tuple(Vec::new()),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.tuple(items)
            }
            b't' => {
                let items = self.pop_group()?;
                self.tuple(items)
            }
            b']' => Value::Plain("a list"),
            0x8f => Value::Plain("a set"),
            // A frozen set.
            0x91 => self.pop_group().map(|_| Value::Plain("a set"))?,
            b'a' => return self.pop().map(drop),
            b'e' | 0x90 => return self.pop_group().map(drop),
            b'}' => self.empty_dict(),
            b's' => {
                let entry = self.pop_many(2)?;
                return self.set_items(entry);
            }
            b'u' => {
                let entries = self.pop_group()?;
                return self.set_items(entries);
            }

            b'c' => {
                let [module, name] = [self.line()?, self.line()?];
                Value::Global(format!("{module}.{name}").into())
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                Value::Global(format!("{module}.{name}").into())
            }
            b'Q' => {
                let id = self.pop()?;
                self.storage(&id)?
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(&callable, &arguments)?
            }
            0x92 => {
                let [class, _, _] = <[Value; 3]>::try_from(self.pop_many(3)?).map_err(|_| self.damaged())?;
                self.opaque(&class)?
            }
            // An object's attributes, such as the versions of modules in a state dict.
            b'b' => return self.pop().map(drop),
            _ => return Err(PickleError::Opcode { opcode, at }),
        };
        self.stack.push(value);
        Ok(())
    }

    fn damaged(&self) -> PickleError {
        PickleError::Damaged(self.at)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let taken = self.bytes[self.at..].get(..length).ok_or(PickleError::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number of up to 8 bytes, those of 8 as if they were signed.
    fn integer(&mut self, bytes: usize) -> Result<i64, PickleError> {
        let mut all = [0; 8];
        all[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(i64::from_le_bytes(all))
    }

    /// Bytes after their own number, which has `prefix` bytes.
    fn sized(&mut self, prefix: usize) -> Result<&'a [u8], PickleError> {
        let length = usize::try_from(self.integer(prefix)?).map_err(|_| PickleError::Truncated)?;
        self.take(length)
    }

    fn text(&mut self, prefix: usize) -> Result<Value, PickleError> {
        let text = std::str::from_utf8(self.sized(prefix)?).map_err(|_| self.damaged())?;
        Ok(Value::Text(text.into()))
    }

    /// A number in two's complement, of any length.
    fn long(&mut self, prefix: usize) -> Result<Value, PickleError> {
        let bytes = self.sized(prefix)?;
        if bytes.len() > 8 {
            return Ok(Value::Plain("a number"));
        }
        let negative = bytes.last().is_some_and(|last| *last >= 0x80);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Integer(i64::from_le_bytes(all)))
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let length = self.bytes[self.at..].iter().position(|byte| *byte == b'\n').ok_or(PickleError::Truncated)?;
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.damaged())
    }

    /// The value on top, of the group that was begun last.
    fn top(&self) -> Result<&Value, PickleError> {
        let begin = self.marks.last().copied().unwrap_or(0);
        self.stack[begin..].last().ok_or_else(|| self.damaged())
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        self.top()?;
        self.stack.pop().ok_or_else(|| self.damaged())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, PickleError> {
        let mut values = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        values.reverse();
        Ok(values)
    }

    fn pop_group(&mut self) -> Result<Vec<Value>, PickleError> {
        let begin = self.marks.pop().ok_or_else(|| self.damaged())?;
        Ok(self.stack.split_off(begin))
    }

    fn pop_text(&mut self) -> Result<Rc<str>, PickleError> {
        match self.pop()? {
            Value::Text(text) => Ok(text),
            _ => Err(self.damaged()),
        }
    }

    fn memoize(&mut self, bytes: usize) -> Result<(), PickleError> {
        let place = self.integer(bytes)? as usize;
        self.memo.insert(place, self.top()?.clone());
        Ok(())
    }

    fn remembered(&mut self, bytes: usize) -> Result<Value, PickleError> {
        let place = self.integer(bytes)? as usize;
        self.memo.get(&place).cloned().ok_or_else(|| self.damaged())
    }

    fn tuple(&mut self, items: Vec<Value>) -> Value {
        self.tuples.push(items);
        Value::Tuple(self.tuples.len() - 1)
    }

    fn items(&self, value: &Value) -> Result<&[Value], PickleError> {
        match value {
            Value::Tuple(place) => Ok(&self.tuples[*place]),
            _ => Err(self.damaged()),
        }
    }

    fn empty_dict(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    /// Puts keys and values, by turns, into the dictionary on top.
    fn set_items(&mut self, entries: Vec<Value>) -> Result<(), PickleError> {
        match *self.top()? {
            Value::Dict(place) if entries.len().is_multiple_of(2) => {
                let mut entries = entries.into_iter();
                let pairs = std::iter::from_fn(|| entries.next().zip(entries.next()));
                self.dicts[place].extend(pairs);
                Ok(())
            }
            Value::Opaque(_) => Ok(()),
            _ => Err(self.damaged()),
        }
    }

    /// What a class or function makes of its arguments, if it is one that tensors are made with.
    fn call(&mut self, callable: &Value, arguments: &Value) -> Result<Value, PickleError> {
        let Value::Global(name) = callable else { return self.opaque(callable) };
        let items = self.items(arguments)?;
        match (&**name, items) {
            ("torch._utils._rebuild_tensor_v2", [Value::Storage(storage), offset, shape, strides, ..]) => {
                self.tensor(storage, offset, shape, strides)
            }
            ("torch._utils._rebuild_parameter", [Value::Tensor(tensor), ..]) => Ok(Value::Tensor(tensor.clone())),
            ("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_parameter", _) => Err(self.damaged()),
            ("collections.OrderedDict", []) => Ok(self.empty_dict()),
            _ => self.opaque(callable),
        }
    }

    fn opaque(&self, class: &Value) -> Result<Value, PickleError> {
        match class {
            Value::Global(name) | Value::Opaque(name) => Ok(Value::Opaque(name.clone())),
            _ => Err(self.damaged()),
        }
    }

    fn storage(&self, id: &Value) -> Result<Value, PickleError> {
        match self.items(id)? {
            [Value::Text(what), Value::Global(kind), Value::Text(key), ..] if **what == *"storage" => {
                Ok(Value::Storage(Rc::new(Storage { kind: kind.clone(), key: key.clone() })))
            }
            _ => Err(self.damaged()),
        }
    }

    fn tensor(
        &self,
        storage: &Rc<Storage>,
        offset: &Value,
        shape: &Value,
        strides: &Value,
    ) -> Result<Value, PickleError> {
        let [shape, strides] = [self.items(shape)?, self.items(strides)?];
        if shape.len() != strides.len() {
            return Err(self.damaged());
        }
        if shape.len() > MOST_DIMENSIONS {
            return Ok(Value::Plain("a tensor of too many dimensions"));
        }
        let sizes = |values: &[Value]| values.iter().map(|value| self.size(value)).collect::<Result<_, _>>();
        Ok(Value::Tensor(Rc::new(Tensor {
            storage: storage.clone(),
            offset: self.size(offset)?,
            shape: sizes(shape)?,
            strides: sizes(strides)?,
        })))
    }

    fn size(&self, value: &Value) -> Result<usize, PickleError> {
        match value {
            Value::Integer(size) => usize::try_from(*size).map_err(|_| self.damaged()),
            _ => Err(self.damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(opcodes: &[u8]) -> Result<Pickle, PickleError> {
        Pickle::read(opcodes)
    }

    /// A dictionary with a tensor, a number, a global and an object, in instructions of protocols 2 and 4.
    const EVERYTHING: &[u8] = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94q\x00(\x8c\x06weightctorch._utils\n\
        _rebuild_tensor_v2\n((X\x07\x00\x00\x00storage\x8c\x05torch\x8c\x0cFloatStorage\x93\x8c\x010\x8c\x03cpuK\x02tQK\x00\
        K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR\x8c\x05epochM\x01\x02\x8c\x02lrG?\xe0\x00\x00\x00\x00\x00\x00\
        \x8c\x04kindctorch\nfloat16\n\x8c\x04argscargparse\nNamespace\n)\x81}\x8c\x01aNsb\x8c\x04list](K\x01\x88e\x8c\x03set\x8f\
        (NJ\xff\xff\xff\xff\x90\x8c\x03big\x8a\x02\x00\x80\x8c\x05bytesC\x01xu.";

    #[test]
    fn tensors_and_plain_values_are_made_and_objects_are_named() {
        let pickle = read(EVERYTHING).unwrap();
        let Value::Dict(root) = pickle.root else { panic!("{:?}", pickle.root) };
        let entries: Vec<(&str, &str)> =
            pickle.dict(root).iter().map(|(name, value)| (text(name), value.describe())).collect();
        let expected = [
            ("weight", "a tensor"),
            ("epoch", "a number"),
            ("lr", "a number"),
            ("kind", "torch.float16"),
            ("args", "argparse.Namespace"),
            ("list", "a list"),
            ("set", "a set"),
            ("big", "a number"),
            ("bytes", "bytes"),
        ];
        assert_eq!(entries, expected);
        let [(_, Value::Tensor(tensor)), (_, Value::Integer(513)), .., (_, Value::Integer(-32768)), _] =
            pickle.dict(root)
        else {
            panic!("{:?}", pickle.dict(root))
        };
        assert_eq!((&*tensor.storage.kind, &*tensor.storage.key), ("torch.FloatStorage", "0"));
        assert_eq!((tensor.offset, &tensor.shape[..], &tensor.strides[..]), (0, &[2][..], &[1][..]));
    }

    fn text(value: &Value) -> &str {
        match value {
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_filled_after_it_was_remembered_is_one_value() {
        let pickle = read(b"}q\x00(\x8c\x01ah\x00\x8c\x01bK\x01u.").unwrap();
        let Value::Dict(root) = pickle.root else { panic!("{:?}", pickle.root) };
        let [(_, Value::Dict(itself)), _] = pickle.dict(root) else { panic!("{:?}", pickle.dict(root)) };
        assert_eq!((*itself, pickle.dict(*itself).len()), (root, 2));
    }

    #[test]
    fn damage_is_an_error_or_another_value() {
        for length in 0..EVERYTHING.len() {
            assert_eq!(read(&EVERYTHING[..length]).unwrap_err(), PickleError::Truncated, "{length} bytes");
        }
        for at in 0..EVERYTHING.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = EVERYTHING.to_vec();
                damaged[at] = byte;
                // That it returns at all is what counts.
                _ = read(&damaged);
            }
        }
    }

    #[test]
    fn hostile_instructions_take_no_more_than_their_length() {
        let long = |opcode: u8| [&[opcode][..], &[0xff; 7], &[0x7f], b"."].concat();
        for opcode in [0x8d, 0x8e] {
            assert_eq!(read(&long(opcode)).unwrap_err(), PickleError::Truncated);
        }
        assert_eq!(read(b"\x8b\xff\xff\xff\xff.").unwrap_err(), PickleError::Truncated);
        // A place in the memo far out, and tuples within tuples beyond any call stack.
        assert!(read(b"Nr\xff\xff\xff\xff.").is_ok());
        assert!(read(&[&b"N"[..], &vec![0x85; 1 << 20], b"."].concat()).is_ok());
        for hostile in
            [&b"."[..], b"(.", b"(t(N0.", b"t.", b"N(u.", b"Nu.", b"h\x00.", b"NR.", b"N)R.", b"NQ.", b"}(Nu."]
        {
            let error = read(hostile).unwrap_err();
            assert!(matches!(error, PickleError::Damaged(_) | PickleError::Opcode { .. }), "{hostile:?}: {error}");
        }
    }
}
