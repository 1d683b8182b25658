//! PyTorch's checkpoint files, read from their bytes in both formats of `torch.save`. No code in them is loaded or run.
//!
//! A checkpoint is a dictionary, mostly of dictionaries. A tensor's name here is the keys that lead to it, joined with
//! dots: `state_dict.module.conv1.weight`. So it does not matter under which keys a program keeps its network.

#[cfg(test)]
pub(super) mod fixture;
mod legacy_file;
mod policy;
mod tensor;
mod unpickler;
mod value;
mod zip_file;

use std::{borrow::Cow, collections::BTreeMap, fmt, io, rc::Rc};

use burn::tensor::{DType, TensorData};
use thiserror::Error;
use zip::result::ZipError;

use self::{
    legacy_file::LegacyFile,
    tensor::Tensor,
    unpickler::PickleError,
    value::{Pickle, Value},
    zip_file::ZipFile,
};
use crate::layout::Shapes;

/// Why a file or a tensor cannot be read. The text calls the file "it".
#[derive(Debug, Error)]
pub enum PytorchError {
    /// Neither of the formats.
    #[error("it is not a PyTorch file; choose one that torch.save wrote")]
    Format,
    /// An archive whose directory, at its end, is missing.
    #[error(
        "it was cut short at {0} bytes, or is damaged: its end is not that of a PyTorch file; copy or download it again"
    )]
    CutShort(usize),
    /// A damaged archive.
    #[error("it is not an intact PyTorch file ({0}); download it again, or choose one that torch.save wrote")]
    Archive(#[from] ZipError),
    /// An archive with damaged contents.
    #[error("it is damaged ({0}); download it again")]
    Damaged(#[from] io::Error),
    /// An archive of another program, with the name of its first entry.
    #[error("it is a zip archive that torch.save did not write, with {0} in it: unpack it, and choose a file inside")]
    NoPickle(String),
    /// A program.
    #[error(
        "it is a TorchScript program, which holds code; keep its tensors alone, in Python: \
         torch.save(torch.jit.load('old.pt').state_dict(), 'weights.pth')"
    )]
    TorchScript,
    /// An archive with a compressed entry.
    #[error("its entry {0} is compressed, which torch.save does not do; save it again with PyTorch")]
    Compressed(String),
    /// A pickle that cannot be read.
    #[error("{0}; download it again, or save it again with PyTorch")]
    Pickle(#[from] PickleError),
    /// A file before PyTorch 1.6 that is not as PyTorch writes it.
    #[error("its {0} is not as PyTorch writes it; download it again, or save it again with PyTorch")]
    Header(&'static str),
    /// A file before PyTorch 1.6 without all bytes of its storages.
    #[error("it ends before its last tensor; download it again")]
    Truncated,
    /// A file from a big-endian machine.
    #[error("its numbers are in byte order '{0}'; save it again on a little-endian machine")]
    ByteOrder(String),
    /// Something other than tensors, descriptions of tensors and plain values.
    #[error(
        "it holds what is neither a plain value nor an ordinary tensor: {what} at {place}; keep its tensors alone, in \
         Python: torch.save(torch.load('old.pth', weights_only=True)['state_dict'], 'weights.pth'). If torch.load refuses \
         it too, weights_only=False would run the code in it: use that only if you trust the file"
    )]
    Refused {
        /// Its Python type.
        what: String,
        /// The keys that lead to it from the root.
        place: String,
    },
    /// No tensors where a state dict is expected.
    #[error("it holds no named tensors, but {0}; save them, in Python: torch.save(model.state_dict(), 'weights.pth')")]
    NoTensors(String),
    /// An unknown name.
    #[error("there is no tensor {0}")]
    Absent(String),
    /// A tensor that holds no weights.
    #[error("tensor {name} is a {kind}, but weights are floating-point")]
    Type {
        /// Its name.
        name: String,
        /// The Python type of its storage.
        kind: String,
    },
    /// A tensor larger than its storage.
    #[error("tensor {0} reaches beyond its storage; the file is damaged: download it again")]
    Beyond(String),
    /// An expanded view that is larger than its storage.
    #[error("tensor {0} repeats its elements; save it again as a copy, in Python: tensor.clone()")]
    Repeats(String),
}

/// The tensors of a file, whose values are read on demand.
pub struct StateDict {
    tensors: BTreeMap<String, Rc<Tensor>>,
    file: File,
}

/// A file in one of the formats.
enum File {
    Zip(ZipFile),
    Legacy(LegacyFile),
}

/// Returns whether `bytes` begin as a file of either format does, intact or not.
pub fn recognises(bytes: &[u8]) -> bool {
    ZipFile::recognises(bytes) || LegacyFile::recognises(bytes)
}

impl StateDict {
    /// Reads the names and shapes of a file's tensors. The file is what `torch.save` writes, since PyTorch 1.6 or
    /// before.
    ///
    /// # Errors
    /// If it is not such a file or is damaged, or if it holds anything but tensors, descriptions of tensors (such as
    /// `torch.float32`) and plain values, or no tensors.
    pub fn open(bytes: Vec<u8>) -> Result<Self, PytorchError> {
        let (file, pickle) = if ZipFile::recognises(&bytes) {
            let (file, pickle) = ZipFile::open(bytes)?;
            (File::Zip(file), pickle)
        } else if LegacyFile::recognises(&bytes) {
            let (file, pickle) = LegacyFile::open(bytes)?;
            (File::Legacy(file), pickle)
        } else {
            return Err(PytorchError::Format);
        };
        Ok(Self { tensors: named_tensors(&pickle)?, file })
    }

    /// Returns names and shapes.
    pub fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
    }

    /// Returns the values of the tensor `name` as `f32`, in its shape.
    ///
    /// # Errors
    /// If there is no such tensor, it is not floating-point (of 64, 32 or 16 bits or bfloat16), or its values are not
    /// all in the file.
    pub fn read(&self, name: &str) -> Result<TensorData, PytorchError> {
        let tensor = self.tensors.get(name).ok_or_else(|| PytorchError::Absent(name.into()))?;
        let kind = &*tensor.storage.kind;
        let dtype = match kind {
            "torch.DoubleStorage" => DType::F64,
            "torch.FloatStorage" => DType::F32,
            "torch.HalfStorage" => DType::F16,
            "torch.BFloat16Storage" => DType::BF16,
            _ => return Err(PytorchError::Type { name: name.into(), kind: kind.into() }),
        };
        let beyond = || PytorchError::Beyond(name.into());
        let storage = match &self.file {
            File::Zip(file) => Cow::Owned(file.storage(&tensor.storage.key)?),
            File::Legacy(file) => Cow::Borrowed(file.storage(&tensor.storage.key).ok_or_else(beyond)?),
        };
        let size = dtype.size();
        let elements = tensor.elements().ok_or_else(beyond)?;
        if elements > storage.len() / size {
            // A damaged shape, or an expanded view.
            let repeats = tensor.strides.contains(&0);
            return Err(if repeats { PytorchError::Repeats(name.into()) } else { beyond() });
        }
        let values = tensor.gather(&storage, size, elements).ok_or_else(beyond)?;
        Ok(TensorData::from_bytes_vec(values, tensor.shape.clone(), dtype).convert::<f32>())
    }
}

impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shapes()).finish()
    }
}

/// Returns the tensors that keys of text lead to from the root, by these keys. Plain values beside them are skipped, and
/// so is what lies below other keys or in lists, such as an optimiser's state.
///
/// # Errors
/// If there are none.
fn named_tensors(pickle: &Pickle) -> Result<BTreeMap<String, Rc<Tensor>>, PytorchError> {
    let mut tensors = BTreeMap::new();
    // A dictionary may hold itself, or be held twice.
    let mut visited = vec![false; pickle.dicts.len()];
    let mut waiting = vec![(String::new(), &pickle.root)];
    while let Some((name, value)) = waiting.pop() {
        match value {
            Value::Tensor(tensor) if !name.is_empty() => drop(tensors.insert(name, tensor.clone())),
            Value::Dict(place) if !std::mem::replace(&mut visited[*place], true) => {
                let prefix = if name.is_empty() { name } else { name + "." };
                let below = pickle.dict(*place).iter().rev().filter_map(|(key, value)| match key {
                    Value::Text(key) => Some((format!("{prefix}{key}"), value)),
                    _ => None,
                });
                waiting.extend(below);
            }
            _ => {}
        }
    }
    if tensors.is_empty() { Err(PytorchError::NoTensors(pickle.describe_root())) } else { Ok(tensors) }
}

#[cfg(test)]
mod tests {
    use super::{
        fixture::{Value, archive, legacy_file, zip},
        *,
    };

    /// Opens the file of `root` in both formats.
    #[track_caller]
    fn open(root: &Value) -> [StateDict; 2] {
        [archive(root), legacy_file(root)].map(|file| StateDict::open(file).unwrap())
    }

    #[track_caller]
    fn refused(bytes: Vec<u8>, why: &str) {
        let error = StateDict::open(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "'{why}' is not in: {error}");
    }

    fn pickled(opcodes: &[u8]) -> Value {
        Value::Pickled(opcodes.to_vec())
    }

    fn tensor() -> Value {
        Value::Tensor(TensorData::from([[0.5f32, -2.0]]))
    }

    fn weights() -> Value {
        Value::dict([("fc.weight", tensor())])
    }

    /// Returns another view of the first tensor that was pickled.
    fn view(offset: u8, shape: &[u8], strides: &[u8]) -> Value {
        let sizes =
            |sizes: &[u8]| [b"(".to_vec(), sizes.iter().flat_map(|size| [b'K', *size]).collect(), b"t".to_vec()];
        let storage = b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x00tQ";
        let [shape, strides] = [sizes(shape).concat(), sizes(strides).concat()];
        let place = [b'K', offset];
        pickled(&[b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], &place, &shape, &strides, b"\x89NtR"].concat())
    }

    #[test]
    fn tensors_are_named_by_the_keys_that_lead_to_them() {
        // Another view of the first tensor, in a list and below a key that is a number.
        let Value::Pickled(other) = view(0, &[1], &[1]) else { unreachable!() };
        let in_list = pickled(&[b"](", &other[..], b"e"].concat());
        let by_number = pickled(&[b"}(K\x00", &other[..], b"u"].concat());
        for (root, names) in [
            (weights(), &["fc.weight"][..]),
            (Value::dict([("epoch", pickled(b"K\x07")), ("fc.weight", tensor())]), &["fc.weight"]),
            (Value::dict([("state_dict", weights())]), &["state_dict.fc.weight"]),
            (
                Value::dict([("model", weights()), ("optimizer", Value::dict([("state", by_number)]))]),
                &["model.fc.weight"],
            ),
            (Value::dict([("w", tensor()), ("optimizer_states", in_list)]), &["w"]),
            (
                Value::dict([("a", Value::dict([("b", weights())])), ("c", weights())]),
                &["a.b.fc.weight", "c.fc.weight"],
            ),
        ] {
            for state_dict in open(&root) {
                assert_eq!(state_dict.shapes().into_keys().collect::<Vec<_>>(), names);
            }
        }
        // A dictionary that holds itself.
        let root = pickled(b"}q\x00(X\x01\x00\x00\x00ah\x00u");
        refused(archive(&root), "it holds no named tensors, but a dictionary with the keys a;");
    }

    #[test]
    fn every_floating_point_type_becomes_f32() {
        let expected = TensorData::from([[0.5f32, -2.0], [0.0, 96.0]]);
        let types = [("f64", DType::F64), ("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];
        let tensors =
            types.map(|(name, dtype)| (name.to_owned(), Value::Tensor(expected.clone().convert_dtype(dtype))));
        let integers = [("i64".to_owned(), Value::Tensor(TensorData::from([1i64])))];
        for state_dict in open(&Value::Dict(integers.into_iter().chain(tensors).collect())) {
            for (name, _) in types {
                assert_eq!(state_dict.read(name).unwrap(), expected, "{name}");
            }
            let error = state_dict.read("i64").unwrap_err().to_string();
            assert_eq!(error, "tensor i64 is a torch.LongStorage, but weights are floating-point");
            assert!(matches!(state_dict.read("f8"), Err(PytorchError::Absent(_))));
        }
    }

    #[test]
    fn views_are_read_as_the_elements_they_show() {
        let whole = TensorData::from([[0.0f32, 1.0, 2.0], [3.0, 4.0, 5.0]]);
        for state_dict in open(&Value::dict([
            ("whole", Value::Tensor(whole)),
            ("transposed", view(0, &[3, 2], &[1, 3])),
            ("column", view(1, &[2, 1], &[3, 1])),
            ("row", view(3, &[3], &[1])),
            ("number", view(5, &[], &[])),
            ("nothing", view(6, &[0, 3], &[3, 1])),
            ("repeated", view(4, &[3], &[0])),
            ("endless", view(0, &[255, 255], &[0, 0])),
            ("beyond", view(4, &[3], &[1])),
        ])) {
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
    }

    #[test]
    fn files_without_tensors_are_refused() {
        for file in [archive, legacy_file] {
            let names = Value::dict([("model", pickled(b"X\x08\x00\x00\x00resnet50")), ("state_dict", pickled(b"]"))]);
            refused(file(&names), "it holds no named tensors, but a dictionary with the keys model, state_dict; save");
            refused(file(&pickled(b"K\x01")), "it holds no named tensors, but a number; save");
            refused(file(&pickled(b"]")), "but a tuple or list; save");
            refused(file(&pickled(b"}")), "but an empty dictionary; save");
            refused(file(&tensor()), "but a tensor; save");
        }
    }

    #[test]
    fn truncated_files_are_refused() {
        for whole in [archive(&weights()), legacy_file(&weights())] {
            for length in 0..whole.len() {
                assert!(StateDict::open(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
            }
        }
    }

    #[test]
    fn damage_is_found_by_an_archives_checksums_and_never_panics() {
        let values = [("a", [[0.5f32, -2.0]]), ("b", [[1.0, 7.0]])];
        let tensors = values.map(|(name, values)| (name, Value::Tensor(TensorData::from(values))));
        let root = Value::dict([("state_dict", Value::dict(tensors))]);
        for (whole, has_checksums) in [(archive(&root), true), (legacy_file(&root), false)] {
            for bit in 0..8 * whole.len() {
                let mut damaged = whole.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let Ok(state_dict) = StateDict::open(damaged) else { continue };
                assert!(!has_checksums || state_dict.shapes().len() == 2, "bit {bit}");
                for (name, values) in values {
                    let read = state_dict.read(name);
                    assert!(!has_checksums || read.is_err() || read.unwrap() == TensorData::from(values), "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn other_files_are_refused_by_what_they_are() {
        refused(b"GIF89a".to_vec(), "it is not a PyTorch file");
        refused(b"\x80\x02K\x01.".to_vec(), "it is not a PyTorch file");
        refused(b"PK\x03\x04 no archive".to_vec(), "it was cut short at 15 bytes, or is damaged");
        refused(
            zip([("word/document.xml", &[][..])]),
            "a zip archive that torch.save did not write, with word/document.xml in it: unpack it",
        );
        refused(zip([("a/data.pkl", &b"\x80\x02}."[..]), ("a/constants.pkl", b"")]), "it is a TorchScript program");
        refused(zip([("a/data.pkl", &b"\x80\x02}."[..]), ("a/byteorder", b"big")]), "byte order 'big'");
    }
}
