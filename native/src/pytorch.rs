//! PyTorch's checkpoint files, read as data: whatever code their pickle names is neither loaded nor run.

#[cfg(test)]
#[path = "../../core/src/interchange/pytorch/fixture.rs"]
pub mod fixture;

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::{DType, TensorData};
use pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader, Tensor};
use slimclr_core::{interchange::pytorch::STATE_DICT, layout::Shapes};

/// Python types beside plain values that may stand in a checkpoint: tensors, what describes them, and integers
/// beyond 64 bits.
const ALLOWED: [&str; 16] = [
    "torch.Tensor",
    "torch.TypedStorage",
    "torch.UntypedStorage",
    "torch.Size",
    "torch.device",
    "torch.float64",
    "torch.float32",
    "torch.float16",
    "torch.bfloat16",
    "torch.int64",
    "torch.int32",
    "torch.int16",
    "torch.int8",
    "torch.uint8",
    "torch.bool",
    "int",
];

/// The tensors of a network's state dict, whose values are read on demand.
#[derive(Debug)]
pub struct StateDict {
    tensors: HashMap<String, Tensor>,
}

impl StateDict {
    /// Reads the table of contents of a file that `torch.save` wrote, in any of its formats.
    ///
    /// # Errors
    /// If it is no such file or not whole, or if there is anything in it but tensors and plain values.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let refused = |what: String| {
            anyhow!(
                "{shown} is refused, for it holds what is neither a plain value nor an ordinary tensor: {what}; \
                 keep its tensors alone, in Python: \
                 torch.save(torch.load('{shown}', weights_only=True)['state_dict'], 'weights.pth'); where that refuses it \
                 too, weights_only=False would run what is in it: only if you trust it"
            )
        };
        let unreadable = |error| match error {
            PytorchError::Pickle(PickleError::UnsupportedType(kind)) => refused(kind),
            error => anyhow!(
                "{shown} cannot be read as a PyTorch checkpoint: {error}; fetch it anew if it is not whole, \
                 or name a file that torch.save wrote"
            ),
        };
        let root = PytorchReader::read_pickle_data(path, None).map_err(unreadable)?;
        if let Some((place, kind)) = foreign(&root, "") {
            let place = if place.is_empty() { "its root" } else { &place };
            return Err(refused(format!("{kind} at {place}")));
        }
        let key = match &root {
            PickleValue::Dict(entries) => STATE_DICT.into_iter().find(|key| entries.contains_key(*key)),
            _ => None,
        };
        let reader = match key {
            Some(key) => PytorchReader::with_top_level_key(path, key),
            None => PytorchReader::new(path),
        };
        Ok(Self { tensors: reader.map_err(unreadable)?.into_tensors() })
    }

    /// Names and shapes.
    pub fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect()
    }

    /// The values of the tensor `name`, as 32-bit floating point.
    ///
    /// # Errors
    /// If it is of integers, or the file ends before it does.
    pub fn read(&self, name: &str) -> Result<TensorData> {
        use pytorch_reader::DType as Stored;
        let tensor = self.tensors.get(name).with_context(|| format!("there is no tensor {name}"))?;
        let dtype = match tensor.dtype() {
            Stored::F64 => DType::F64,
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::BF16 => DType::BF16,
            other => bail!("tensor {name} is of type {other:?}, but a network's are of floating point"),
        };
        Ok(TensorData::from_bytes_vec(tensor.read()?, tensor.shape().to_vec(), dtype).convert::<f32>())
    }
}

/// The first value that is neither plain nor a tensor, by its place: place and Python type.
fn foreign(value: &PickleValue, place: &str) -> Option<(String, String)> {
    let inside = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match value {
        PickleValue::Unsupported(kind) if !ALLOWED.contains(&kind.as_str()) => Some((place.to_owned(), kind.clone())),
        PickleValue::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| foreign(item, &inside(&index.to_string())))
        }
        // Their order changes from reading to reading.
        PickleValue::Dict(entries) => entries.iter().filter_map(|(key, entry)| foreign(entry, &inside(key))).min(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        fixture::{Value, archive, older_file},
        *,
    };

    /// Opens a file of these bytes.
    fn open(bytes: &[u8]) -> Result<StateDict> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.pth.tar");
        fs::write(&path, bytes).unwrap();
        StateDict::open(&path)
    }

    #[track_caller]
    fn refused(bytes: &[u8], why: &str) {
        let error = format!("{:#}", open(bytes).unwrap_err());
        assert!(error.contains("checkpoint.pth.tar") && error.contains(why), "'{why}' is not in: {error}");
    }

    fn weights() -> Value {
        Value::dict([("fc.weight", Value::Tensor(TensorData::from([[0.5f32, -2.0]])))])
    }

    #[test]
    fn tensors_are_found_under_the_usual_keys() {
        for root in [
            weights(),
            Value::dict([("state_dict", weights())]),
            Value::dict([("model", weights()), ("optimizer", Value::dict([("state", weights())]))]),
        ] {
            for file in [archive(&root), older_file(&root)] {
                let state_dict = open(&file).unwrap();
                assert_eq!(state_dict.shapes(), Shapes::from([("fc.weight".into(), vec![1, 2])]));
            }
        }
    }

    #[test]
    fn every_precision_becomes_32_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pt");
        let expected = TensorData::from([[0.5f32, -2.0], [0.0, 96.0]]);
        let precisions = [("f64", DType::F64), ("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];
        let tensors = precisions.map(|(name, dtype)| (name, Value::Tensor(expected.clone().convert_dtype(dtype))));
        let root = Value::dict([("weights", Value::dict(tensors)), ("i64", Value::Tensor(TensorData::from([1i64])))]);
        fs::write(&path, older_file(&root)).unwrap();
        let state_dict = StateDict::open(&path).unwrap();
        for (name, _) in precisions {
            assert_eq!(state_dict.read(&format!("weights.{name}")).unwrap(), expected, "{name}");
        }
        assert!(state_dict.read("i64").unwrap_err().to_string().contains("tensor i64 is of type I64"));
    }

    #[test]
    fn plain_values_and_descriptions_of_tensors_are_let_through() {
        let pickled = |opcodes: &[u8]| Value::Pickled(opcodes.to_vec());
        let root = Value::dict([
            ("epoch", pickled(b"K\x07")),
            ("arch", pickled(b"X\x08\x00\x00\x00resnet50")),
            ("best_acc1", pickled(b"G?\xe0\x00\x00\x00\x00\x00\x00")),
            ("betas", pickled(b"(G?\xe0\x00\x00\x00\x00\x00\x00\x88Nt")),
            ("dtype", pickled(b"ctorch\nfloat16\n")),
            ("device", Value::call("torch", "device")),
            ("seed", pickled(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01")),
            ("state_dict", weights()),
        ]);
        open(&older_file(&root)).unwrap();
    }

    #[test]
    fn code_is_refused_and_never_run() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let command = format!("touch {}", trace.display());
        // As pickle.dumps writes an object whose __reduce__ is (os.system, (command,)).
        let attack = format!("cposix\nsystem\n(V{command}\ntR").into_bytes();
        refused(&[b"\x80\x02", &attack[..], b"."].concat(), "posix.system at its root");
        let hidden = Value::dict([("state_dict", weights()), ("arch", Value::Pickled(attack))]);
        refused(&older_file(&hidden), "posix.system at arch; keep its tensors alone");
        assert!(!trace.exists(), "the file's code was run");
    }

    #[test]
    fn other_objects_are_refused_by_name_and_place() {
        let with = |value| older_file(&Value::dict([("state_dict", weights()), ("args", value)]));
        let rate = Value::Pickled(b"G?\xe0\x00\x00\x00\x00\x00\x00".to_vec());
        let namespace = Value::Built { class: ["argparse", "Namespace"], state: vec![("lr".into(), rate)] };
        refused(&with(namespace), "argparse.Namespace at args;");
        let groups = Value::dict([("lr", Value::call("numpy._core.multiarray", "scalar"))]);
        refused(&with(Value::dict([("groups", groups)])), "numpy._core.multiarray.scalar at args.groups.lr;");
        let list = Value::Pickled(b"](K\x01cbuiltins\neval\ne".to_vec());
        refused(&with(list), "builtins.eval at args.1; keep its tensors");
        refused(&with(Value::call("pathlib", "PosixPath")), "weights_only=True)['state_dict'], 'weights.pth')");
        // The reader itself gives up on objects that hold tensors.
        let tensor = Value::Tensor(TensorData::from([1.0f32]));
        let optimizer = Value::Built { class: ["torch.optim.sgd", "SGD"], state: vec![("state".into(), tensor)] };
        refused(&with(optimizer), "ordinary tensor: torch.optim.sgd.SGD; keep its tensors");
    }

    #[test]
    fn files_that_are_not_whole_or_no_checkpoints_are_refused() {
        let whole = older_file(&weights());
        for length in 0..whole.len() {
            refused(&whole[..length], "cannot be read as a PyTorch checkpoint");
        }
        refused(b"PK\x03\x04 no archive", "fetch it anew");
        refused(b"GIF89a", "not a PyTorch checkpoint");
        refused(b"\x80\x02K\x01.", "a dictionary at the root");
    }
}
