//! PyTorch's checkpoint files, read from bytes alone: what `torch.save` writes since PyTorch 1.6, a zip archive of one
//! pickle and a file for each tensor's storage.

#[cfg(test)]
pub(super) mod fixture;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    io::{self, Cursor, Read},
};

use burn::tensor::{DType, TensorData};
use thiserror::Error;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::pickle::{Pickle, PickleError, Tensor, Value};
use crate::layout::Shapes;

/// Keys under which training programs keep a network's tensors, beside an optimiser's state and the like.
pub const STATE_DICT: [&str; 2] = ["state_dict", "model"];

/// How files of PyTorch before 1.6 begin: protocol 2 and a magic number, pickled.
const OLDER_FORMAT: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// Bytes of the longest pickle that is read; those of networks have less than a hundredth of it, and reading takes some
/// times its length in memory.
const LONGEST_PICKLE: u64 = 16 << 20;

/// Why a file is no state dict that can be read.
#[derive(Debug, Error)]
pub enum PytorchError {
    /// Of PyTorch before 1.6.
    #[error(
        "it has the format of PyTorch before 1.6: save it again with a later one, in Python: \
         torch.save(torch.load('old.pth', weights_only=True), 'new.pth')"
    )]
    Older,
    /// No archive, or one cut short.
    #[error("it is no whole PyTorch file ({0}): fetch it anew, or choose one that torch.save wrote")]
    Archive(#[from] ZipError),
    /// An archive with damaged contents.
    #[error("it is damaged ({0}): fetch it anew")]
    Damaged(#[from] io::Error),
    /// An archive of something else.
    #[error("it is a zip archive, but no PyTorch file: it has no data.pkl; choose one that torch.save wrote")]
    NoPickle,
    /// An archive as PyTorch writes none.
    #[error("its part {0} is compressed, which torch.save does not do: save it again with PyTorch")]
    Compressed(String),
    /// Contents that are out of all proportion.
    #[error("its data.pkl has {0} bytes, far more than any network's")]
    TooLong(u64),
    /// A pickle that cannot be read.
    #[error("{0}; fetch it anew, or save it again with PyTorch")]
    Pickle(#[from] PickleError),
    /// Of another kind of computer.
    #[error("its numbers have the byte order '{0}': save it again on an ordinary computer, which is little-endian")]
    ByteOrder(String),
    /// Something else where tensors belong.
    #[error(
        "{what} stands at {place}, where tensors belong: keep them alone, in Python: \
         torch.save(model.state_dict(), 'weights.pth')"
    )]
    Foreign {
        /// What it is, or its Python type.
        what: String,
        /// Its keys, from the root.
        place: String,
    },
    /// A tensor that was asked for.
    #[error("there is no tensor {0}")]
    Absent(String),
    /// A tensor that no network has.
    #[error("tensor {name} is a {kind}, but a network's are of floating point")]
    Type {
        /// Its name.
        name: String,
        /// The Python type of its storage.
        kind: String,
    },
    /// A tensor that is not where the file says.
    #[error("tensor {0} reaches beyond its data: the file is damaged; fetch it anew")]
    Beyond(String),
    /// A tensor that is larger than what the file has of it.
    #[error("tensor {0} repeats its data: save it again as a copy, in Python: tensor.clone()")]
    Repeats(String),
}

/// The tensors of a network's state dict, whose values are read on demand.
pub struct StateDict {
    tensors: BTreeMap<String, Place>,
    /// Name of the folder in the archive.
    folder: String,
    archive: RefCell<Archive>,
}

type Archive = ZipArchive<Cursor<Vec<u8>>>;

/// Where a tensor's values are.
struct Place {
    /// The Python type of its storage.
    kind: String,
    /// The storage's file.
    key: String,
    /// Place of the first element in the storage.
    offset: usize,
    shape: Vec<usize>,
    /// Elements of the storage from one place along a dimension to the next.
    strides: Vec<usize>,
}

impl StateDict {
    /// Reads the table of contents of a file that `torch.save` of PyTorch 1.6 or later wrote, in which a dictionary of
    /// tensors stands at the root or under one of the keys [`STATE_DICT`]. What stands beside it may be anything; none
    /// of it is run.
    ///
    /// # Errors
    /// If it is no such file or not whole, or if Python objects stand where tensors belong.
    pub fn open(bytes: Vec<u8>) -> Result<Self, PytorchError> {
        if bytes.starts_with(OLDER_FORMAT) {
            return Err(PytorchError::Older);
        }
        let mut archive = ZipArchive::new(Cursor::new(bytes))?;
        if archive.has_duplicate_names() {
            return Err(ZipError::InvalidArchive("two parts have one name".into()).into());
        }
        let folder = {
            let names = archive.file_names_raw().filter_map(|name| str::from_utf8(name).ok());
            let mut folders = names.filter_map(|name| name.strip_suffix("/data.pkl"));
            folders.next().ok_or(PytorchError::NoPickle)?.to_owned()
        };
        let byte_order = format!("{folder}/byteorder");
        // Older programs wrote none, for there was one only.
        if archive.index_for_name(&byte_order).is_some() {
            let order = String::from_utf8_lossy(&part(&mut archive, &byte_order)?).into_owned();
            if order != "little" {
                return Err(PytorchError::ByteOrder(order));
            }
        }
        let pickle = part(&mut archive, &format!("{folder}/data.pkl"))?;
        if pickle.len() as u64 > LONGEST_PICKLE {
            return Err(PytorchError::TooLong(pickle.len() as u64));
        }
        let tensors = tensors(&Pickle::read(&pickle)?)?;
        Ok(Self { tensors, folder, archive: RefCell::new(archive) })
    }

    /// Names and shapes.
    pub fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, place)| (name.clone(), place.shape.clone())).collect()
    }

    /// The values of the tensor `name`, as 32-bit floating point.
    ///
    /// # Errors
    /// If there is none, it is of integers, or the file does not have all of its values.
    pub fn read(&self, name: &str) -> Result<TensorData, PytorchError> {
        let place = self.tensors.get(name).ok_or_else(|| PytorchError::Absent(name.into()))?;
        let (dtype, size) = match place.kind.as_str() {
            "torch.DoubleStorage" => (DType::F64, 8),
            "torch.FloatStorage" => (DType::F32, 4),
            "torch.HalfStorage" => (DType::F16, 2),
            "torch.BFloat16Storage" => (DType::BF16, 2),
            kind => return Err(PytorchError::Type { name: name.into(), kind: kind.into() }),
        };
        let storage = part(&mut self.archive.borrow_mut(), &format!("{}/data/{}", self.folder, place.key))?;
        let elements = place.elements().ok_or_else(|| PytorchError::Beyond(name.into()))?;
        if elements > storage.len() / size {
            // A damaged shape, or a view along which nothing varies.
            let repeats = place.strides.contains(&0);
            return Err(if repeats { PytorchError::Repeats } else { PytorchError::Beyond }(name.into()));
        }
        let values = place.gather(&storage, size, elements).ok_or_else(|| PytorchError::Beyond(name.into()))?;
        Ok(TensorData::from_bytes_vec(values, place.shape.clone(), dtype).convert::<f32>())
    }
}

impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shapes()).finish()
    }
}

impl Place {
    fn of(tensor: &Tensor) -> Self {
        Self {
            kind: tensor.storage.kind.to_string(),
            key: tensor.storage.key.to_string(),
            offset: tensor.offset,
            shape: tensor.shape.clone(),
            strides: tensor.strides.clone(),
        }
    }

    /// Its number of elements, if that is a number at all.
    fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
    }

    /// The bytes of its elements, of `size` each, row by row. None if they are not all there.
    fn gather(&self, storage: &[u8], size: usize, elements: usize) -> Option<Vec<u8>> {
        if elements == 0 {
            return Some(Vec::new());
        }
        let reach = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |reach, (along, stride)| reach.checked_add((along - 1).checked_mul(*stride)?))?;
        let end = reach.checked_add(1)?.checked_mul(size)?;
        let storage = storage.get(self.offset * size..end)?;
        if storage.len() == elements * size && self.is_in_order() {
            return Some(storage.to_vec());
        }
        let mut values = Vec::with_capacity(elements * size);
        for element in 0..elements {
            let (mut rest, mut at) = (element, 0);
            for (along, stride) in self.shape.iter().zip(&self.strides).rev() {
                at += rest % along * stride;
                rest /= along;
            }
            values.extend_from_slice(&storage[at * size..][..size]);
        }
        Some(values)
    }

    /// Whether the elements lie one after the other, row by row.
    fn is_in_order(&self) -> bool {
        let dimensions = self.shape.iter().zip(&self.strides).rev().filter(|(along, _)| **along > 1);
        let mut below = 1;
        dimensions.into_iter().all(|(along, stride)| {
            let in_order = *stride == below;
            below *= along;
            in_order
        })
    }
}

/// Reads a part of the archive.
fn part(archive: &mut Archive, name: &str) -> Result<Vec<u8>, PytorchError> {
    let mut part = archive.by_name(name)?;
    // Stored as they are, parts have no more bytes than the file.
    if part.compression() != CompressionMethod::Stored {
        return Err(PytorchError::Compressed(name.into()));
    }
    let mut bytes = Vec::new();
    part.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The tensors of the state dict in a pickle.
fn tensors(pickle: &Pickle) -> Result<BTreeMap<String, Place>, PytorchError> {
    let foreign = |what: &Value, place: String| PytorchError::Foreign { what: what.describe().into(), place };
    let Value::Dict(root) = pickle.root else { return Err(foreign(&pickle.root, "its root".into())) };
    let (key, entries) = match STATE_DICT.into_iter().find_map(|key| Some((key, find(pickle.dict(root), key)?))) {
        Some((key, Value::Dict(place))) => (Some(key), pickle.dict(*place)),
        Some((key, other)) => return Err(foreign(other, key.into())),
        None => (None, pickle.dict(root)),
    };
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        match (name, value, key) {
            (Value::Text(name), Value::Tensor(tensor), _) => drop(tensors.insert(name.to_string(), Place::of(tensor))),
            // At the root, objects may stand beside the tensors.
            (Value::Text(name), Value::Opaque(_), Some(key)) => return Err(foreign(value, format!("{key}.{name}"))),
            _ => {}
        }
    }
    Ok(tensors)
}

/// The value of a dictionary's key; the last, as in Python.
fn find<'a>(entries: &'a [(Value, Value)], key: &str) -> Option<&'a Value> {
    entries.iter().rev().find_map(|(name, value)| matches!(name, Value::Text(name) if **name == *key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::{
        fixture::{Value, archive, older_file},
        *,
    };

    #[track_caller]
    fn open(root: &Value) -> StateDict {
        StateDict::open(archive(root)).unwrap()
    }

    #[track_caller]
    fn refused(bytes: Vec<u8>, why: &str) {
        let error = StateDict::open(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "'{why}' is not in: {error}");
    }

    fn pickled(opcodes: &[u8]) -> Value {
        Value::Pickled(opcodes.to_vec())
    }

    fn weights() -> Value {
        Value::dict([("fc.weight", Value::Tensor(TensorData::from([[0.5f32, -2.0]])))])
    }

    /// Another view of the first tensor that was pickled.
    fn view(offset: u8, shape: &[u8], strides: &[u8]) -> Value {
        let sizes =
            |sizes: &[u8]| [b"(".to_vec(), sizes.iter().flat_map(|size| [b'K', *size]).collect(), b"t".to_vec()];
        let storage = b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x00tQ";
        let [shape, strides] = [sizes(shape).concat(), sizes(strides).concat()];
        let place = [b'K', offset];
        pickled(&[b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], &place, &shape, &strides, b"\x89NtR"].concat())
    }

    #[test]
    fn tensors_are_found_under_the_usual_keys() {
        for root in [
            weights(),
            Value::dict([
                ("epoch", pickled(b"K\x07")),
                ("fc.weight", Value::Tensor(TensorData::from([[0.0f32, 1.0]]))),
            ]),
            Value::dict([("state_dict", weights())]),
            Value::dict([("model", weights()), ("optimizer", Value::dict([("state", weights())]))]),
        ] {
            assert_eq!(open(&root).shapes(), Shapes::from([("fc.weight".into(), vec![1, 2])]));
        }
    }

    #[test]
    fn every_precision_becomes_32_bit() {
        let expected = TensorData::from([[0.5f32, -2.0], [0.0, 96.0]]);
        let precisions = [("f64", DType::F64), ("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];
        let tensors = precisions.map(|(name, dtype)| (name, Value::Tensor(expected.clone().convert_dtype(dtype))));
        let mut tensors = tensors.to_vec();
        tensors.push(("i64", Value::Tensor(TensorData::from([1i64]))));
        let state_dict =
            open(&Value::Dict(tensors.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()));
        for (name, _) in precisions {
            assert_eq!(state_dict.read(name).unwrap(), expected, "{name}");
        }
        let error = state_dict.read("i64").unwrap_err().to_string();
        assert_eq!(error, "tensor i64 is a torch.LongStorage, but a network's are of floating point");
        assert!(matches!(state_dict.read("f8"), Err(PytorchError::Absent(_))));
    }

    #[test]
    fn views_are_read_as_what_they_show() {
        let whole = TensorData::from([[0.0f32, 1.0, 2.0], [3.0, 4.0, 5.0]]);
        let state_dict = open(&Value::dict([
            ("whole", Value::Tensor(whole)),
            ("transposed", view(0, &[3, 2], &[1, 3])),
            ("column", view(1, &[2, 1], &[3, 1])),
            ("row", view(3, &[3], &[1])),
            ("number", view(5, &[], &[])),
            ("nothing", view(6, &[0, 3], &[3, 1])),
            ("repeated", view(4, &[3], &[0])),
            ("endless", view(0, &[255, 255], &[0, 0])),
            ("beyond", view(4, &[3], &[1])),
        ]));
        let read = |name| state_dict.read(name).unwrap();
        assert_eq!(read("transposed"), TensorData::from([[0.0f32, 3.0], [1.0, 4.0], [2.0, 5.0]]));
        assert_eq!(read("column"), TensorData::from([[1.0f32], [4.0]]));
        assert_eq!(read("row"), TensorData::from([3.0f32, 4.0, 5.0]));
        assert_eq!(read("number"), TensorData::new(vec![5.0f32], [0; 0]));
        assert_eq!(read("nothing"), TensorData::new(Vec::<f32>::new(), [0, 3]));
        assert_eq!(read("repeated"), TensorData::from([4.0f32; 3]));
        assert!(matches!(state_dict.read("endless"), Err(PytorchError::Repeats(_))));
        assert!(matches!(state_dict.read("beyond"), Err(PytorchError::Beyond(_))));
    }

    #[test]
    fn sizes_beyond_all_numbers_are_refused() {
        let place = |shape: &[usize], strides: &[usize], offset| Place {
            kind: String::new(),
            key: String::new(),
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        assert_eq!(place(&[usize::MAX, 2], &[1, 1], 0).elements(), None);
        for it in [place(&[2], &[usize::MAX], 1), place(&[3], &[usize::MAX], 0), place(&[1], &[1], usize::MAX / 2)] {
            assert_eq!(it.gather(&[0; 16], 4, it.elements().unwrap()), None);
        }
    }

    #[test]
    fn whatever_stands_beside_the_tensors_is_passed_over() {
        let rate = || pickled(b"G?\xe0\x00\x00\x00\x00\x00\x00");
        let root = Value::dict([
            ("seed", pickled(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01")),
            ("betas", pickled(b"(G?\xe0\x00\x00\x00\x00\x00\x00\x88Nt")),
            ("dtype", pickled(b"ctorch\nfloat16\n")),
            ("args", Value::Built { class: ["argparse", "Namespace"], state: vec![("lr".into(), rate())] }),
            ("loss", Value::call("numpy._core.multiarray", "scalar")),
            ("attack", pickled(b"cposix\nsystem\n(X\x0b\x00\x00\x00touch tracetR")),
            ("state_dict", weights()),
        ]);
        assert_eq!(open(&root).shapes().len(), 1);
    }

    #[test]
    fn objects_in_the_place_of_tensors_are_refused_by_name_and_place() {
        let network = || Value::call("torch.nn.modules.linear", "Linear");
        refused(archive(&network()), "torch.nn.modules.linear.Linear stands at its root");
        refused(archive(&Value::dict([("model", network())])), "torch.nn.modules.linear.Linear stands at model");
        let among = Value::dict([("state_dict", Value::dict([("fc.weight", network())]))]);
        refused(archive(&among), "torch.nn.modules.linear.Linear stands at state_dict.fc.weight");
        refused(archive(&Value::dict([("model", pickled(b"X\x08\x00\x00\x00resnet50"))])), "a string stands at model");
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let whole = archive(&weights());
        for length in 0..whole.len() {
            assert!(StateDict::open(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn a_damaged_file_is_refused_or_reads_the_same() {
        let values = [("a", [[0.5f32, -2.0]]), ("b", [[1.0, 7.0]])];
        let tensors = values.map(|(name, values)| (name, Value::Tensor(TensorData::from(values))));
        let whole = archive(&Value::dict([("state_dict", Value::dict(tensors))]));
        for bit in 0..8 * whole.len() {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let Ok(state_dict) = StateDict::open(damaged) else { continue };
            assert_eq!(state_dict.shapes().len(), 2, "bit {bit}");
            for (name, values) in values {
                if let Ok(data) = state_dict.read(name) {
                    assert_eq!(data, TensorData::from(values), "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn other_files_are_refused_by_what_they_are() {
        refused(older_file(&weights()), "the format of PyTorch before 1.6: save it again");
        refused(b"GIF89a".to_vec(), "no whole PyTorch file");
        refused(fixture::zip([("word/document.xml", &[][..])]), "no data.pkl");
        refused(fixture::zip([("a/data.pkl", &b"\x80\x02}."[..]), ("a/byteorder", b"big")]), "byte order 'big'");
    }
}
