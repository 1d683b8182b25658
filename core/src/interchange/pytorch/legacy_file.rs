//! Files of PyTorch before 1.6, as `_legacy_save` of torch/serialization.py writes them: the pickles of a magic number,
//! the protocol's version, properties of the machine, the object, and the storages' keys; then for each storage the
//! number of its elements, an `i64`, and the elements.

use std::{collections::BTreeMap, ops::Range, rc::Rc};

use super::{
    PytorchError, policy,
    tensor::element_size,
    value::{Pickle, Value},
};

/// The magic number 0x1950a86a20f9469cfc6c, as pickled.
const MAGIC: [u8; 10] = *b"l\xfc\x9cF\xf9 j\xa8P\x19";

/// How far from the file's beginning the magic number ends at most: other protocols put a few bytes more before it.
const HEADER: usize = 64;

/// The version of the protocol that all these files have.
const VERSION: i64 = 1001;

/// A file, and where its storages are.
pub struct LegacyFile {
    bytes: Vec<u8>,
    /// By key; in bytes.
    storages: BTreeMap<Rc<str>, Range<usize>>,
}

impl LegacyFile {
    /// Whether the file begins with the magic number.
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes[..bytes.len().min(HEADER)].windows(MAGIC.len()).any(|window| window == MAGIC)
    }

    /// Opens a file. Returns it and the pickle of its object.
    ///
    /// # Errors
    /// If it is truncated or damaged, is not what `torch.save` writes, or holds what [`policy::read`] refuses.
    pub fn open(bytes: Vec<u8>) -> Result<(Self, Pickle), PytorchError> {
        let (_magic, at) = policy::read(&bytes, 0)?;
        let (version, at) = policy::read(&bytes, at)?;
        if !matches!(version.root, Value::Integer(VERSION)) {
            return Err(PytorchError::Header("protocol version"));
        }
        let (machine, at) = policy::read(&bytes, at)?;
        let is_little_endian = match machine.root {
            Value::Dict(entries) => machine.entry(entries, "little_endian"),
            _ => None,
        };
        match is_little_endian {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(PytorchError::ByteOrder("big".into())),
            _ => return Err(PytorchError::Header("byte order")),
        }
        let (object, at) = policy::read(&bytes, at)?;
        let (keys, at) = policy::read(&bytes, at)?;
        let storages = locate(&bytes, at, &keys, &element_sizes(&object)?)?;
        Ok((Self { bytes, storages }, object))
    }

    /// Returns the bytes of the storage `key`, or `None` if there is no such storage.
    pub fn storage(&self, key: &str) -> Option<&[u8]> {
        self.storages.get(key).map(|place| &self.bytes[place.clone()])
    }
}

/// Returns the bytes of an element of each storage, by its key.
fn element_sizes(object: &Pickle) -> Result<BTreeMap<&str, usize>, PytorchError> {
    let mut sizes = BTreeMap::new();
    for storage in &object.storages {
        let size = element_size(&storage.kind).ok_or(PytorchError::Header("type of a storage"))?;
        if sizes.insert(&*storage.key, size).is_some_and(|other| other != size) {
            return Err(PytorchError::Header("type of a storage"));
        }
    }
    Ok(sizes)
}

/// Returns the place of each storage in `bytes`, of which the first begins at `at`.
fn locate(
    bytes: &[u8],
    mut at: usize,
    keys: &Pickle,
    sizes: &BTreeMap<&str, usize>,
) -> Result<BTreeMap<Rc<str>, Range<usize>>, PytorchError> {
    let Value::Sequence(list) = keys.root else { return Err(PytorchError::Header("list of storages")) };
    let mut storages = BTreeMap::new();
    for key in keys.sequence(list) {
        let Value::Text(key) = key else { return Err(PytorchError::Header("list of storages")) };
        let size = sizes.get(&**key).ok_or(PytorchError::Header("list of storages"))?;
        let elements = bytes[at..].first_chunk().ok_or(PytorchError::Truncated)?;
        let begin = at + elements.len();
        let elements = usize::try_from(i64::from_le_bytes(*elements));
        let length = elements.ok().and_then(|elements| elements.checked_mul(*size));
        at = length.and_then(|length| begin.checked_add(length)).ok_or(PytorchError::Truncated)?;
        if at > bytes.len() {
            return Err(PytorchError::Truncated);
        }
        storages.insert(key.clone(), begin..at);
    }
    Ok(storages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &[u8] = b"M\xe9\x03";
    const LITTLE_ENDIAN: &[u8] = b"}X\x0d\x00\x00\x00little_endian\x88s";
    const STORAGE: &[u8] =
        b"(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02NtQ";
    const KEYS: &[u8] = b"]X\x01\x00\x00\x000a";

    /// Returns a file of these pickles after the magic number, and of one storage that declares `elements`.
    fn file(pickles: [&[u8]; 4], elements: i64) -> Vec<u8> {
        let magic = [b"\x8a\x0a", &MAGIC[..]].concat();
        let pickles =
            [&magic].into_iter().map(Vec::as_slice).chain(pickles).map(|pickle| [b"\x80\x02", pickle, b"."].concat());
        [&pickles.collect::<Vec<_>>().concat(), &elements.to_le_bytes()[..], b"\x01\x02\x03\x04"].concat()
    }

    #[test]
    fn a_storage_is_found_by_its_key() {
        let (file, _) = LegacyFile::open(file([VERSION, LITTLE_ENDIAN, STORAGE, KEYS], 2)).unwrap();
        assert_eq!((file.storage("0"), file.storage("1")), (Some(&[1, 2, 3, 4][..]), None));
    }

    #[test]
    fn files_that_pytorch_does_not_write_are_refused() {
        let big_endian = LITTLE_ENDIAN.strip_suffix(b"\x88s").unwrap();
        let big_endian = [big_endian, b"\x89s"].concat();
        let view = STORAGE.strip_suffix(b"NtQ").unwrap();
        let view = [view, b"X\x01\x00\x00\x001K\x00K\x01\x87tQ"].concat();
        for (pickles, elements, why) in [
            ([b"K\x01", LITTLE_ENDIAN, STORAGE, KEYS], 2, "protocol version"),
            ([VERSION, b"}", STORAGE, KEYS], 2, "byte order is not"),
            ([VERSION, &big_endian, STORAGE, KEYS], 2, "byte order 'big'"),
            ([VERSION, LITTLE_ENDIAN, &view, KEYS], 2, "its pickle is damaged"),
            ([VERSION, LITTLE_ENDIAN, STORAGE, b"N"], 2, "list of storages"),
            ([VERSION, LITTLE_ENDIAN, STORAGE, b"]X\x01\x00\x00\x001a"], 2, "list of storages"),
            ([VERSION, LITTLE_ENDIAN, STORAGE, KEYS], 3, "ends before its last tensor"),
            ([VERSION, LITTLE_ENDIAN, STORAGE, KEYS], -1, "ends before its last tensor"),
            ([VERSION, LITTLE_ENDIAN, STORAGE, KEYS], i64::MAX, "ends before its last tensor"),
        ] {
            let error = LegacyFile::open(file(pickles, elements)).err().unwrap().to_string();
            assert!(error.contains(why), "'{why}' is not in: {error}");
        }
    }
}
