//! Safetensors files: opens them, and says what is wrong with a damaged one.

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::Metadata};
use thiserror::Error;

use super::not_a_network::NotANetwork;

/// Bytes of the header's length, with which a file begins.
const LENGTH: usize = size_of::<u64>();
/// The longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Why a safetensors file or one of its tensors cannot be read. The text calls the file "it".
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// Another kind of file.
    #[error(transparent)]
    Other(#[from] NotANetwork),
    /// The end of the file is missing.
    #[error("it was cut short at {found} of {} bytes: copy or download it again", at_least(*.expected, *.is_exact))]
    CutShort {
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: u64,
        /// Whether that is known; otherwise it is the least.
        is_exact: bool,
    },
    /// The file continues after its last tensor.
    #[error("it is damaged: it has {found} bytes, but its tensors end at byte {expected}; copy or download it again")]
    TooLong {
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: u64,
    },
    /// The header cannot be parsed.
    #[error("it is damaged ({0}); copy or download it again")]
    Header(String),
    /// A tensor that holds no weights.
    #[error("tensor {name} is of type {dtype}, but weights are floating-point")]
    Type {
        /// Its name.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
}

fn at_least(expected: u64, is_exact: bool) -> String {
    if is_exact { expected.to_string() } else { format!("at least {expected}") }
}

/// Returns whether `bytes` begin as a safetensors file does, intact or not.
pub fn recognises(bytes: &[u8]) -> bool {
    header_length(bytes).is_some_and(|length| length <= MAX_HEADER) && bytes.get(LENGTH) == Some(&b'{')
}

fn header_length(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_le_bytes)
}

/// Opens a file.
///
/// # Errors
/// If it is another file, is cut short or is damaged.
pub fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, SafetensorsError> {
    if !recognises(bytes) {
        return Err(NotANetwork::of(bytes).into());
    }
    SafeTensors::deserialize(bytes).map_err(|error| damage(bytes, &error))
}

/// Describes the damage of a file that begins as it should.
fn damage(bytes: &[u8], error: &SafeTensorError) -> SafetensorsError {
    let found = bytes.len();
    let data_begins = LENGTH as u64 + header_length(bytes).unwrap_or(0);
    let Some(header) = bytes.get(LENGTH..data_begins as usize) else {
        return SafetensorsError::CutShort { found, expected: data_begins, is_exact: false };
    };
    match (error, serde_json::from_slice::<Metadata>(header)) {
        (SafeTensorError::MetadataIncompleteBuffer, Ok(metadata)) => {
            let expected = data_begins + metadata.data_len() as u64;
            if (found as u64) < expected {
                SafetensorsError::CutShort { found, expected, is_exact: true }
            } else {
                SafetensorsError::TooLong { found, expected }
            }
        }
        _ => SafetensorsError::Header(error.to_string()),
    }
}

/// Reads the values of the tensor `name` as `f32`, in its shape.
///
/// # Errors
/// If there is no such tensor, or its values are not floating-point numbers of 64, 32 or 16 bits or bfloat16.
pub fn read(tensors: &SafeTensors, name: &str) -> Result<TensorData, SafetensorsError> {
    let view = tensors.tensor(name).map_err(|error| SafetensorsError::Header(error.to_string()))?;
    let dtype = match view.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        dtype => return Err(SafetensorsError::Type { name: name.into(), dtype }),
    };
    Ok(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype).convert::<f32>())
}

#[cfg(test)]
mod tests {
    use safetensors::{serialize, tensor::TensorView};

    use super::*;

    fn file() -> Vec<u8> {
        let values = [0u8; 24];
        let views = ["a", "b"].map(|name| (name, TensorView::new(Dtype::F32, vec![2, 3], &values).unwrap()));
        serialize(views, None).unwrap()
    }

    #[test]
    fn every_cut_is_described() {
        let whole = file();
        let header = LENGTH + header_length(&whole).unwrap() as usize;
        for length in 0..whole.len() {
            let error = open(&whole[..length]).unwrap_err().to_string();
            let expected = match length {
                0 => "it is empty: copy or download it again".into(),
                1..=8 => format!("its length is only {length} B: copy or download it again"),
                _ if length < header => {
                    format!("it was cut short at {length} of at least {header} bytes: copy or download it again")
                }
                _ => format!("it was cut short at {length} of {} bytes: copy or download it again", whole.len()),
            };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn other_damage_is_described() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = file();
            change(&mut bytes);
            open(&bytes).unwrap_err().to_string()
        };
        let whole = file().len();
        let longer = refused(&|bytes| bytes.extend([0; 5]));
        assert_eq!(
            longer,
            format!(
                "it is damaged: it has {} bytes, but its tensors end at byte {whole}; copy or download it again",
                whole + 5
            )
        );
        assert!(refused(&|bytes| bytes[9] = b'}').starts_with("it is damaged (invalid JSON in header: "));
        assert_eq!(refused(&|bytes| bytes[..64].fill(0)), NotANetwork::Zeros.to_string());
    }

    #[test]
    fn every_floating_point_type_becomes_f32() {
        let expected = TensorData::from([[0.5f32, -2.0], [0.0, 96.0]]);
        for (dtype, stored) in
            [(Dtype::F64, DType::F64), (Dtype::F32, DType::F32), (Dtype::F16, DType::F16), (Dtype::BF16, DType::BF16)]
        {
            let stored = expected.clone().convert_dtype(stored);
            let view = TensorView::new(dtype, vec![2, 2], stored.as_bytes()).unwrap();
            let bytes = serialize([("w", view)], None).unwrap();
            assert_eq!(read(&open(&bytes).unwrap(), "w").unwrap(), expected, "{dtype}");
        }
        let counter = TensorView::new(Dtype::I64, vec![], &[0; 8]).unwrap();
        let bytes = serialize([("n", counter)], None).unwrap();
        let error = read(&open(&bytes).unwrap(), "n").unwrap_err().to_string();
        assert_eq!(error, "tensor n is of type I64, but weights are floating-point");
    }
}
