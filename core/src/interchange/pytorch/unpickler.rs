//! Pickles as `torch.save` writes them with protocols 2 to 5, read as data: no code that they name is loaded or run.
//!
//! A pickle is a program for a stack machine. This machine makes plain values, containers and tensors. Of any other
//! object it keeps the name of the class or function that would have made it.

mod objects;

use std::{collections::HashMap, rc::Rc};

use thiserror::Error;

use super::value::{Pickle, Value};

/// The longest pickle that is read, in bytes: a hundred times any network's. Its values take several times its length
/// in memory.
const MAX_LENGTH: usize = 16 << 20;

/// Why a pickle cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PickleError {
    /// The file ends within it.
    #[error("its pickle ends early")]
    Truncated,
    /// It has more than 16 MiB.
    #[error("its pickle is longer than 16 MiB, far longer than any network's")]
    TooLong,
    /// An instruction finds another value than it needs.
    #[error("its pickle is damaged at byte {0}")]
    Damaged(usize),
    /// An instruction that `torch.save` does not use.
    #[error("its pickle has opcode {opcode:#04x} at byte {at}, which torch.save does not write")]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Its place.
        at: usize,
    },
}

/// Reads the pickle at `start` of `bytes`. Returns it and the place of the byte after it.
///
/// # Errors
/// If it is damaged, ends early, is longer than 16 MiB, or has opcodes that `torch.save` does not write.
pub fn unpickle(bytes: &[u8], start: usize) -> Result<(Pickle, usize), PickleError> {
    let end = bytes.len().min(start.saturating_add(MAX_LENGTH));
    let pickle = Pickle {
        root: Value::NONE,
        globals: Vec::new(),
        storages: Vec::new(),
        sequences: Vec::new(),
        dicts: Vec::new(),
    };
    let mut unpickler = Unpickler {
        bytes: &bytes[..end],
        at: start,
        is_cut: end < bytes.len(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        pickle,
    };
    unpickler.pickle.root = unpickler.run()?;
    Ok((unpickler.pickle, unpickler.at))
}

struct Unpickler<'a> {
    /// Up to the longest pickle's end.
    bytes: &'a [u8],
    /// Place of the next byte.
    at: usize,
    /// Whether the file has more bytes.
    is_cut: bool,
    stack: Vec<Value>,
    /// Heights of the stack where groups of values begin.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    /// The values so far.
    pickle: Pickle,
}

impl<'a> Unpickler<'a> {
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
            // The protocol's number and the length of a frame.
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

            b'N' => Value::NONE,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
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

            // An empty tuple, list and set.
            b')' | b']' | 0x8f => self.sequence(Vec::new()),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.sequence(items)
            }
            // A tuple and a frozen set.
            b't' | 0x91 => {
                let items = self.pop_group()?;
                self.sequence(items)
            }
            b'a' => {
                let item = self.pop_many(1)?;
                return self.append(item);
            }
            b'e' | 0x90 => {
                let items = self.pop_group()?;
                return self.append(items);
            }
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
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.global(&module, &name)
            }
            b'Q' => {
                let id = self.pop()?;
                self.persistent(&id)?
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(&callable, &arguments)?
            }
            0x92 => {
                let [class, _, _] = <[Value; 3]>::try_from(self.pop_many(3)?).map_err(|_| self.damaged())?;
                self.object(&class)?
            }
            // An object's attributes, such as the modules' versions in a state dict.
            b'b' => return self.pop().map(drop),
            _ => return Err(PickleError::Opcode { opcode, at }),
        };
        self.stack.push(value);
        Ok(())
    }

    fn damaged(&self) -> PickleError {
        PickleError::Damaged(self.at)
    }

    fn ended(&self) -> PickleError {
        if self.is_cut { PickleError::TooLong } else { PickleError::Truncated }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let taken = self.bytes[self.at..].get(..length).ok_or_else(|| self.ended())?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// Reads an unsigned integer of 1 to 4 bytes, or a signed one of 8.
    fn integer(&mut self, bytes: usize) -> Result<i64, PickleError> {
        let mut all = [0; 8];
        all[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(i64::from_le_bytes(all))
    }

    /// Reads bytes after their length, which has `prefix` bytes.
    fn sized(&mut self, prefix: usize) -> Result<&'a [u8], PickleError> {
        let length = usize::try_from(self.integer(prefix)?).map_err(|_| self.ended())?;
        self.take(length)
    }

    fn text(&mut self, prefix: usize) -> Result<Value, PickleError> {
        let text = std::str::from_utf8(self.sized(prefix)?).map_err(|_| self.damaged())?;
        Ok(Value::Text(text.into()))
    }

    /// Reads an integer in two's complement, of any length.
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
        let length = self.bytes[self.at..].iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| self.ended())?;
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.damaged())
    }

    /// Returns the value on top, of the innermost group.
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

    fn sequence(&mut self, items: Vec<Value>) -> Value {
        self.pickle.sequences.push(items);
        Value::Sequence(self.pickle.sequences.len() - 1)
    }

    fn items(&self, value: &Value) -> Result<&[Value], PickleError> {
        match value {
            Value::Sequence(place) => Ok(self.pickle.sequence(*place)),
            _ => Err(self.damaged()),
        }
    }

    /// Appends items to the list or set on top.
    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        match *self.top()? {
            Value::Sequence(place) => self.pickle.sequences[place].extend(items),
            Value::Object(_) => {}
            _ => return Err(self.damaged()),
        }
        Ok(())
    }

    fn empty_dict(&mut self) -> Value {
        self.pickle.dicts.push(Vec::new());
        Value::Dict(self.pickle.dicts.len() - 1)
    }

    /// Puts alternating keys and values into the dictionary on top.
    fn set_items(&mut self, entries: Vec<Value>) -> Result<(), PickleError> {
        match *self.top()? {
            Value::Dict(place) if entries.len().is_multiple_of(2) => {
                let mut entries = entries.into_iter();
                let pairs = std::iter::from_fn(|| entries.next().zip(entries.next()));
                self.pickle.dicts[place].extend(pairs);
            }
            Value::Object(_) => {}
            _ => return Err(self.damaged()),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Value {
        let name: Rc<str> = format!("{module}.{name}").into();
        self.pickle.globals.push(name.clone());
        Value::Global(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(opcodes: &[u8]) -> Result<Pickle, PickleError> {
        Ok(unpickle(opcodes, 0)?.0)
    }

    /// A dictionary with a tensor, a number, a global and an object, in instructions of protocols 2 and 4.
    const EVERYTHING: &[u8] = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94q\x00(\x8c\x06weightctorch._utils\n\
        _rebuild_tensor_v2\n((X\x07\x00\x00\x00storage\x8c\x05torch\x8c\x0cFloatStorage\x93\x8c\x010\x8c\x03cpuK\x02tQK\x00\
        K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR\x8c\x05epochM\x01\x02\x8c\x02lrG?\xe0\x00\x00\x00\x00\x00\x00\
        \x8c\x04kindctorch\nfloat16\n\x8c\x04argscargparse\nNamespace\n)\x81}\x8c\x01aNsb\x8c\x04list](K\x01\x88e\x8c\x03set\x8f\
        (NJ\xff\xff\xff\xff\x90\x8c\x03big\x8a\x02\x00\x80\x8c\x05bytesC\x01xu.";

    #[test]
    fn tensors_and_plain_values_are_read_and_objects_are_named() {
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
            ("list", "a tuple or list"),
            ("set", "a tuple or list"),
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
    fn a_container_may_hold_itself() {
        let pickle = read(b"}q\x00(\x8c\x01ah\x00\x8c\x01bK\x01u.").unwrap();
        let Value::Dict(root) = pickle.root else { panic!("{:?}", pickle.root) };
        let [(_, Value::Dict(itself)), _] = pickle.dict(root) else { panic!("{:?}", pickle.dict(root)) };
        assert_eq!((*itself, pickle.dict(*itself).len()), (root, 2));
    }

    #[test]
    fn a_truncated_pickle_is_an_error_and_a_damaged_one_does_not_panic() {
        for length in 0..EVERYTHING.len() {
            assert_eq!(read(&EVERYTHING[..length]).unwrap_err(), PickleError::Truncated, "{length} bytes");
        }
        for at in 0..EVERYTHING.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = EVERYTHING.to_vec();
                damaged[at] = byte;
                _ = read(&damaged);
            }
        }
    }

    #[test]
    fn hostile_instructions_neither_allocate_nor_recurse_far() {
        let long = |opcode: u8| [&[opcode][..], &[0xff; 7], &[0x7f], b"."].concat();
        for opcode in [0x8d, 0x8e] {
            assert_eq!(read(&long(opcode)).unwrap_err(), PickleError::Truncated);
        }
        assert_eq!(read(b"\x8b\xff\xff\xff\xff.").unwrap_err(), PickleError::Truncated);
        // A high place in the memo, and tuples nested deeper than any call stack.
        assert!(read(b"Nr\xff\xff\xff\xff.").is_ok());
        assert!(read(&[&b"N"[..], &vec![0x85; 1 << 20], b"."].concat()).is_ok());
        for hostile in [
            &b"."[..],
            b"(.",
            b"(t(N0.",
            b"t.",
            b"N(u.",
            b"Nu.",
            b"h\x00.",
            b"NR.",
            b"N)R.",
            b"NQ.",
            b"}(Nu.",
            b"NNa.",
            b"N(e.",
        ] {
            let error = read(hostile).unwrap_err();
            assert!(matches!(error, PickleError::Damaged(_) | PickleError::Opcode { .. }), "{hostile:?}: {error}");
        }
    }
}
