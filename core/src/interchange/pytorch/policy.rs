//! What a PyTorch file may hold: tensors, descriptions of tensors, and plain values. Anything else is refused, by name
//! and place.

use super::{
    PytorchError,
    tensor::element_size,
    unpickler::unpickle,
    value::{Pickle, Value},
};

/// Python types and values that describe tensors.
const ALLOWED: [&str; 12] = [
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
];

/// Classes and functions that the unpickler interprets, to make tensors and containers. They may be named, but are no
/// values themselves.
const INTERPRETED: [&str; 9] = [
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "collections.OrderedDict",
    "builtins.set",
    "builtins.frozenset",
    "__builtin__.set",
    "__builtin__.frozenset",
];

/// Containers in containers that are searched. Checkpoints have fewer than ten.
const MAX_DEPTH: usize = 64;

/// Reads the pickle at `start` of `bytes`. Returns it and the place of the byte after it.
///
/// # Errors
/// If it cannot be read, or holds anything but tensors, descriptions of tensors and plain values.
pub fn read(bytes: &[u8], start: usize) -> Result<(Pickle, usize), PytorchError> {
    let (pickle, end) = unpickle(bytes, start)?;
    check(&pickle)?;
    Ok((pickle, end))
}

fn check(pickle: &Pickle) -> Result<(), PytorchError> {
    let [sequences, dicts] = [&pickle.sequences.len(), &pickle.dicts.len()].map(|count| vec![false; *count]);
    let mut search = Search { pickle, sequences, dicts };
    if let Some(Found { what, mut keys }) = search.visit(&pickle.root, MAX_DEPTH) {
        keys.reverse();
        let place = if keys.is_empty() { "its root".into() } else { keys.join(".") };
        return Err(PytorchError::Refused { what, place });
    }
    let is_known = |name: &str| is_allowed(name) || INTERPRETED.contains(&name) || element_size(name).is_some();
    match pickle.globals.iter().find(|name| !is_known(name)) {
        Some(name) => {
            Err(PytorchError::Refused { what: name.to_string(), place: "a place that no key leads to".into() })
        }
        None => Ok(()),
    }
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name)
}

/// The first value that is not allowed.
struct Found {
    what: String,
    /// The keys that lead to it, the innermost first.
    keys: Vec<String>,
}

/// Depth-first search for values that are not allowed, in the file's order.
struct Search<'a> {
    pickle: &'a Pickle,
    /// Whether each container was visited.
    sequences: Vec<bool>,
    dicts: Vec<bool>,
}

impl Search<'_> {
    fn visit(&mut self, value: &Value, depth: usize) -> Option<Found> {
        let found = |what: &str| Some(Found { what: what.into(), keys: Vec::new() });
        let inside = |key: String| {
            move |mut found: Found| {
                found.keys.push(key);
                found
            }
        };
        match value {
            Value::Global(name) | Value::Object(name) if !is_allowed(name) => found(name),
            Value::Storage(storage) if element_size(&storage.kind).is_none() => found(&storage.kind),
            Value::Tensor(tensor) if element_size(&tensor.storage.kind).is_none() => found(&tensor.storage.kind),
            Value::Sequence(_) | Value::Dict(_) if depth == 0 => found("a value nested too deeply"),
            Value::Sequence(place) if !std::mem::replace(&mut self.sequences[*place], true) => {
                let mut items = self.pickle.sequence(*place).iter().enumerate();
                items.find_map(|(index, item)| self.visit(item, depth - 1).map(inside(index.to_string())))
            }
            Value::Dict(place) if !std::mem::replace(&mut self.dicts[*place], true) => {
                self.pickle.dict(*place).iter().find_map(|(key, value)| {
                    self.visit(key, depth - 1).or_else(|| self.visit(value, depth - 1).map(inside(name(key))))
                })
            }
            _ => None,
        }
    }
}

/// Names a dictionary's key in a place.
fn name(key: &Value) -> String {
    match key {
        Value::Text(name) => name.to_string(),
        Value::Integer(number) => number.to_string(),
        other => other.describe().into(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::super::{
        StateDict,
        fixture::{Value, archive, legacy_file},
    };

    fn weights() -> Value {
        Value::dict([("fc.weight", Value::Tensor(TensorData::from([[0.5f32, -2.0]])))])
    }

    fn pickled(opcodes: &[u8]) -> Value {
        Value::Pickled(opcodes.to_vec())
    }

    /// Pickles what `pickle.dumps` makes of an object whose `__reduce__` returns `(os.system, (command,))`.
    fn attack(command: &str) -> Value {
        let length = (command.len() as u32).to_le_bytes();
        pickled(&[b"cposix\nsystem\nX", &length[..], command.as_bytes(), b"\x85R"].concat())
    }

    /// Checks that the file of `root` is refused for `what`, in both formats.
    #[track_caller]
    fn refused(root: &Value, what: &str) {
        for file in [archive(root), legacy_file(root)] {
            let error = StateDict::open(file).unwrap_err().to_string();
            assert!(error.contains(what), "'{what}' is not in: {error}");
        }
    }

    #[test]
    fn plain_values_and_descriptions_of_tensors_are_allowed() {
        let root = Value::dict([
            ("epoch", pickled(b"K\x07")),
            ("arch", pickled(b"X\x08\x00\x00\x00resnet50")),
            ("best_acc1", pickled(b"G?\xe0\x00\x00\x00\x00\x00\x00")),
            ("betas", pickled(b"(G?\xe0\x00\x00\x00\x00\x00\x00\x88Nt")),
            ("tags", pickled(b"c__builtin__\nset\n](X\x01\x00\x00\x00ae\x85R")),
            ("dtype", pickled(b"ctorch\nfloat16\n")),
            ("device", Value::call("torch", "device")),
            ("seed", pickled(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01")),
            ("state_dict", weights()),
        ]);
        for file in [archive(&root), legacy_file(&root)] {
            assert_eq!(StateDict::open(file).unwrap().shapes().len(), 1);
        }
    }

    #[test]
    fn code_is_refused_and_never_run() {
        let trace = std::env::temp_dir().join(format!("slimclr-trace-{}", std::process::id()));
        let attack = attack(&format!("touch {}", trace.display()));
        refused(&attack, "posix.system at its root;");
        refused(
            &Value::dict([("state_dict", weights()), ("arch", attack)]),
            "posix.system at arch; keep its tensors alone",
        );
        assert!(!trace.exists(), "the file's code was run");
    }

    #[test]
    fn other_objects_are_refused_by_name_and_place() {
        let with = |value| Value::dict([("state_dict", weights()), ("args", value)]);
        let rate = pickled(b"G?\xe0\x00\x00\x00\x00\x00\x00");
        let namespace = Value::Built { class: ["argparse", "Namespace"], state: vec![("lr".into(), rate)] };
        refused(&with(namespace), "argparse.Namespace at args;");
        let groups = Value::dict([("lr", Value::call("numpy._core.multiarray", "scalar"))]);
        refused(&with(Value::dict([("groups", groups)])), "numpy._core.multiarray.scalar at args.groups.lr;");
        refused(&with(pickled(b"](K\x01cbuiltins\neval\ne")), "builtins.eval at args.1; keep its tensors");
        refused(&with(pickled(b"}(K\x01cbuiltins\neval\nu")), "builtins.eval at args.1;");
        refused(&with(pickled(b"}(cbuiltins\neval\nK\x01u")), "builtins.eval at args;");
        refused(&with(Value::call("pathlib", "PosixPath")), "weights_only=True)['state_dict'], 'weights.pth')");
        let tensor = Value::Tensor(TensorData::from([1.0f32]));
        let optimizer = Value::Built { class: ["torch.optim.sgd", "SGD"], state: vec![("state".into(), tensor)] };
        refused(&with(optimizer), "ordinary tensor: torch.optim.sgd.SGD at args; keep its tensors");
    }

    #[test]
    fn networks_in_place_of_tensors_are_refused_by_name_and_place() {
        let network = || Value::call("torch.nn.modules.linear", "Linear");
        refused(&network(), "torch.nn.modules.linear.Linear at its root");
        refused(&Value::dict([("model", network())]), "torch.nn.modules.linear.Linear at model");
        let among = Value::dict([("state_dict", Value::dict([("fc.weight", network())]))]);
        refused(&among, "torch.nn.modules.linear.Linear at state_dict.fc.weight");
        // As PyTorch before 1.6 writes the class of a network that is saved whole.
        let class = pickled(b"(X\x06\x00\x00\x00modulecmodels\nNet\nX\x00\x00\x00\x00X\x00\x00\x00\x00tQ)\x81");
        refused(&Value::dict([("model", class)]), "models.Net at model");
    }

    #[test]
    fn values_that_no_key_leads_to_are_refused() {
        // Arguments of an allowed call, an object's attributes, and what is below the root on the stack.
        for hidden in [&b"ctorch\ndevice\ncposix\nsystem\n\x85R"[..], b"}cposix\nsystem\nb", b"cposix\nsystem\n}"] {
            refused(&pickled(hidden), "posix.system at a place that no key leads to");
        }
    }

    #[test]
    fn unsupported_storages_are_refused() {
        let storage = b"(X\x07\x00\x00\x00storagectorch\nQInt8Storage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ";
        let tensor =
            [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], b"K\x00K\x01\x85K\x01\x85\x89NtR"].concat();
        refused(&Value::dict([("w", pickled(storage))]), "torch.QInt8Storage at w;");
        refused(&Value::dict([("w", pickled(&tensor))]), "torch.QInt8Storage at w;");
    }

    #[test]
    fn containers_in_themselves_end_and_deep_ones_are_refused() {
        let root = Value::dict([("itself", pickled(b"]q\x00h\x00a")), ("state_dict", weights())]);
        assert!(StateDict::open(archive(&root)).is_ok());
        let deep = [&b"N"[..], &vec![0x85; 1 << 20]].concat();
        refused(&Value::dict([("deep", pickled(&deep))]), "a value nested too deeply at deep.0.0");
    }
}
