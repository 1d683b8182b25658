//! Reads PyTorch checkpoints as data: code that their pickle refers to is never loaded or run.

#[cfg(test)]
#[path = "../../core/src/interchange/pytorch/fixture.rs"]
pub mod fixture;

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::{DType, TensorData};
use pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader, Tensor};
use slimclr_core::{interchange::pytorch::STATE_DICT, layout::Shapes};

/// Python types that a checkpoint may contain besides plain values: tensors, their dtypes and devices, and integers
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

/// The tensors of a state dict, whose values are read on demand.
#[derive(Debug)]
pub struct StateDict {
    tensors: HashMap<String, Tensor>,
}

impl StateDict {
    /// Reads the names and shapes of a file written by `torch.save`, in any of its formats.
    ///
    /// # Errors
    /// If it is not such a file, is truncated, or contains anything but tensors and plain values.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let refused = |what: String| {
            anyhow!(
                "{shown} is refused because it contains an object that is neither a tensor nor a plain value: {what}; \
                 extract its tensors in Python: \
                 torch.save(torch.load('{shown}', weights_only=True)['state_dict'], 'weights.pth'); if PyTorch refuses \
                 it too, weights_only=False would run code in the file, so use that only if you trust it"
            )
        };
        let unreadable = |error| match error {
            PytorchError::Pickle(PickleError::UnsupportedType(kind)) => refused(kind),
            error => anyhow!(
                "{shown} cannot be read as a PyTorch checkpoint: {error}; download it again if it is truncated, \
                 or name a file written by torch.save"
            ),
        };
        let root = PytorchReader::read_pickle_data(path, None).map_err(unreadable)?;
        if let Some((path, kind)) = find_unsupported(&root, "") {
            let path = if path.is_empty() { "its root" } else { &path };
            return Err(refused(format!("{kind} at {path}")));
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

    /// Returns the tensors' names and shapes.
    pub fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect()
    }

    /// Reads the tensor `name`, converted to f32.
    ///
    /// # Errors
    /// If there is no such tensor, it is not of floating point, or the file is truncated.
    pub fn read(&self, name: &str) -> Result<TensorData> {
        use pytorch_reader::DType as Stored;
        let tensor = self.tensors.get(name).with_context(|| format!("there is no tensor {name}"))?;
        let dtype = match tensor.dtype() {
            Stored::F64 => DType::F64,
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::BF16 => DType::BF16,
            other => bail!("tensor {name} has dtype {other:?}, but weights must be floating point"),
        };
        Ok(TensorData::from_bytes_vec(tensor.read()?, tensor.shape().to_vec(), dtype).convert::<f32>())
    }
}

/// Finds the first value that is neither plain nor a tensor. Returns its dotted path and its Python type.
fn find_unsupported(value: &PickleValue, path: &str) -> Option<(String, String)> {
    let child = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        PickleValue::Unsupported(kind) if !ALLOWED.contains(&kind.as_str()) => Some((path.to_owned(), kind.clone())),
        PickleValue::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| find_unsupported(item, &child(&index.to_string())))
        }
        // The order of a hash map varies, so this takes the smallest path.
        PickleValue::Dict(entries) => {
            entries.iter().filter_map(|(key, entry)| find_unsupported(entry, &child(key))).min()
        }
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

    /// Opens a file with these bytes.
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
    fn every_floating_point_dtype_is_converted_to_f32() {
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
        assert!(state_dict.read("i64").unwrap_err().to_string().contains("tensor i64 has dtype I64"));
    }

    #[test]
    fn plain_values_dtypes_and_devices_are_accepted() {
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
        refused(&older_file(&hidden), "posix.system at arch; extract its tensors");
        assert!(!trace.exists(), "the file's code was run");
    }

    #[test]
    fn other_objects_are_refused_with_their_type_and_path() {
        let with = |value| older_file(&Value::dict([("state_dict", weights()), ("args", value)]));
        let rate = Value::Pickled(b"G?\xe0\x00\x00\x00\x00\x00\x00".to_vec());
        let namespace = Value::Built { class: ["argparse", "Namespace"], state: vec![("lr".into(), rate)] };
        refused(&with(namespace), "argparse.Namespace at args;");
        let groups = Value::dict([("lr", Value::call("numpy._core.multiarray", "scalar"))]);
        refused(&with(Value::dict([("groups", groups)])), "numpy._core.multiarray.scalar at args.groups.lr;");
        let list = Value::Pickled(b"](K\x01cbuiltins\neval\ne".to_vec());
        refused(&with(list), "builtins.eval at args.1; extract its tensors");
        refused(&with(Value::call("pathlib", "PosixPath")), "weights_only=True)['state_dict'], 'weights.pth')");
        // The reader itself rejects objects that contain tensors.
        let tensor = Value::Tensor(TensorData::from([1.0f32]));
        let optimizer = Value::Built { class: ["torch.optim.sgd", "SGD"], state: vec![("state".into(), tensor)] };
        refused(&with(optimizer), "plain value: torch.optim.sgd.SGD; extract its tensors");
    }

    #[test]
    fn truncated_files_and_other_files_are_refused() {
        let complete = older_file(&weights());
        for length in 0..complete.len() {
            refused(&complete[..length], "cannot be read as a PyTorch checkpoint");
        }
        refused(b"PK\x03\x04 no archive", "download it again");
        refused(b"GIF89a", "not a PyTorch checkpoint");
        refused(b"\x80\x02K\x01.", "a dictionary at the root");
    }
}
