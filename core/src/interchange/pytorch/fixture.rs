//! Writes files as `torch.save` does, for tests.

use std::io::{Cursor, Write};

use burn::tensor::{DType, TensorData};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A value in a pickle.
#[derive(Clone)]
pub enum Value {
    /// A tensor.
    Tensor(TensorData),
    /// A dictionary.
    Dict(Vec<(String, Value)>),
    /// An object of the class, given as module and name, with these attributes.
    Built {
        /// Module and name.
        class: [&'static str; 2],
        /// Attributes.
        state: Vec<(String, Value)>,
    },
    /// Opcodes that put one value on the stack.
    Pickled(Vec<u8>),
}

impl Value {
    /// Returns a dictionary.
    pub fn dict<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Self::Dict(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// Returns the result of calling `module.name` without arguments.
    pub fn call(module: &str, name: &str) -> Self {
        Self::Pickled(format!("c{module}\n{name}\n)R").into_bytes())
    }
}

/// Returns the file of `root` in the format since PyTorch 1.6: a zip archive of a pickle and the tensors' bytes.
pub fn archive(root: &Value) -> Vec<u8> {
    let mut storages = Vec::new();
    let pickle = [b"\x80\x02", &pickle(root, &mut storages)[..], b"."].concat();
    let storages = storages.iter().enumerate().map(|(key, data)| (format!("archive/data/{key}"), data.as_bytes()));
    let storages: Vec<(String, &[u8])> = storages.collect();
    let beside = [("archive/data.pkl", &pickle[..]), ("archive/byteorder", b"little")];
    zip(beside.into_iter().chain(storages.iter().map(|(name, bytes)| (name.as_str(), *bytes))))
}

/// Returns a zip archive of uncompressed files.
pub fn zip<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(name, stored).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Returns the file of `root` in the format before PyTorch 1.6: pickles, then the tensors' bytes.
pub fn legacy_file(root: &Value) -> Vec<u8> {
    let mut storages = Vec::new();
    let root = pickle(root, &mut storages);
    let keys: Vec<u8> = (0..storages.len()).flat_map(|key| string(&key.to_string())).collect();
    let pickles: [&[u8]; 5] = [
        b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19",
        &integer(1001),
        &[b"}".as_slice(), &string("little_endian"), b"\x88s"].concat(),
        &root,
        &[b"](".as_slice(), &keys, b"e"].concat(),
    ];
    let pickles = pickles.into_iter().flat_map(|opcodes| [b"\x80\x02", opcodes, b"."].concat());
    let counted = |data: TensorData| [&(data.num_elements() as i64).to_le_bytes()[..], data.as_bytes()].concat();
    pickles.chain(storages.into_iter().flat_map(counted)).collect()
}

fn pickle(value: &Value, storages: &mut Vec<TensorData>) -> Vec<u8> {
    match value {
        Value::Pickled(opcodes) => opcodes.clone(),
        Value::Built { class: [module, name], state } => {
            let state = pickle(&Value::Dict(state.clone()), storages);
            [format!("c{module}\n{name}\n)").as_bytes(), b"\x81", &state, b"b"].concat()
        }
        Value::Dict(entries) => {
            let entries = entries.iter().flat_map(|(key, value)| [string(key), pickle(value, storages)].concat());
            [b"}(".to_vec(), entries.collect(), b"u".to_vec()].concat()
        }
        Value::Tensor(data) => {
            let class = match data.dtype() {
                DType::F64 => "Double",
                DType::F32 => "Float",
                DType::F16 => "Half",
                DType::BF16 => "BFloat16",
                DType::I64 => "Long",
                other => panic!("no fixture of {other:?}"),
            };
            let shape = data.shape().to_vec();
            let strides: Vec<usize> = (1..=shape.len()).map(|next| shape[next..].iter().product()).collect();
            let elements = data.num_elements();
            let key = string(&storages.len().to_string());
            storages.push(data.clone());
            let storage = format!("ctorch\n{class}Storage\n").into_bytes();
            let id = [string("storage"), storage, key, string("cpu"), integer(elements)].concat();
            [
                b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
                &id,
                b"tQK\x00",
                &integers(&shape),
                &integers(&strides),
                b"\x89ccollections\nOrderedDict\n)RtR",
            ]
            .concat()
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn integer(value: usize) -> Vec<u8> {
    [b"J", &(value as i32).to_le_bytes()[..]].concat()
}

fn integers(values: &[usize]) -> Vec<u8> {
    [b"(".to_vec(), values.iter().flat_map(|value| integer(*value)).collect(), b"t".to_vec()].concat()
}
