//! The messages and fields of `onnx.proto` that a network needs, with their field numbers.
//!
//! It is a proto2 file: a field that is present is written even if it is zero, and repeated numbers are not packed.

use burn::tensor::f16;
use prost::{Message, Oneof};

/// `TensorProto.DataType.FLOAT`.
pub const FLOAT: i32 = 1;
/// `TensorProto.DataType.UINT8`.
pub const UINT8: i32 = 2;
/// `TensorProto.DataType.INT8`.
pub const INT8: i32 = 3;
/// `TensorProto.DataType.INT32`.
pub const INT32: i32 = 6;
/// `TensorProto.DataType.FLOAT16`.
pub const FLOAT16: i32 = 10;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(message, required, tag = "7")]
    pub graph: Graph,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<Property>,
}

/// The default domain's operators. Its name is empty, so it is not written.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Property {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

impl Node {
    /// Returns an operation whose name is that of its output.
    pub fn new(operator: &str, output: &str, input: Vec<String>, attribute: Vec<Attribute>) -> Self {
        Self { input, output: vec![output.into()], name: output.into(), op_type: operator.into(), attribute }
    }

    /// Returns the name of the output; the operations here have one each.
    pub fn result(&self) -> &str {
        &self.output[0]
    }

    /// Returns the attribute of this name, if it is given.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Which of the fields above holds the value.
    #[prost(int32, tag = "20")]
    pub r#type: i32,
}

impl Attribute {
    pub fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), r#type: 1, ..Self::default() }
    }

    pub fn int(name: &str, value: i64) -> Self {
        Self { name: name.into(), i: Some(value), r#type: 2, ..Self::default() }
    }

    pub fn string(name: &str, value: &str) -> Self {
        Self { name: name.into(), s: Some(value.into()), r#type: 3, ..Self::default() }
    }

    pub fn ints(name: &str, values: &[usize]) -> Self {
        let ints = values.iter().map(|value| *value as i64).collect();
        Self { name: name.into(), ints, r#type: 7, ..Self::default() }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    /// Little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

impl Tensor {
    /// Returns a tensor of `f32` elements.
    pub fn floats(name: impl Into<String>, dims: Vec<i64>, values: &[f32]) -> Self {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dims, data_type: FLOAT, name: name.into(), raw_data }
    }

    /// Returns a tensor of `i8` elements.
    pub fn bytes(name: impl Into<String>, dims: Vec<i64>, values: &[i8]) -> Self {
        let raw_data = values.iter().map(|value| value.cast_unsigned()).collect();
        Self { dims, data_type: INT8, name: name.into(), raw_data }
    }

    /// Returns the elements as numbers.
    pub fn values(&self) -> Vec<f32> {
        let data = &self.raw_data;
        match self.data_type {
            UINT8 => data.iter().map(|byte| f32::from(*byte)).collect(),
            INT8 => data.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
            INT32 => data.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes) as f32).collect(),
            FLOAT16 => data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
            _ => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, required, tag = "2")]
    pub r#type: Type,
}

#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(message, required, tag = "1")]
    pub tensor_type: TensorType,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, required, tag = "2")]
    pub shape: Shape,
}

#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    #[prost(oneof = "Extent", tags = "1, 2")]
    pub extent: Option<Extent>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Extent {
    /// A constant.
    #[prost(int64, tag = "1")]
    Fixed(i64),
    /// A named dimension of the input.
    #[prost(string, tag = "2")]
    Free(String),
}

impl ValueInfo {
    /// Returns a value of `f32` elements.
    pub fn floats(name: &str, shape: impl IntoIterator<Item = Extent>) -> Self {
        let dim = shape.into_iter().map(|extent| Dimension { extent: Some(extent) }).collect();
        let tensor_type = TensorType { elem_type: FLOAT, shape: Shape { dim } };
        Self { name: name.into(), r#type: Type { tensor_type } }
    }
}
