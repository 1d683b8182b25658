//! The processes that train a run together, called ranks as in MPI, and their collective operations.
//!
//! Each rank computes with its part of every batch. All make the same calls in the same order: a call returns once the
//! others have made it, too. A program of one process has one rank, for which every operation returns what it is given.

mod autodiff;

use std::{fmt::Debug, sync::Arc};

use burn::{
    backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension, tensor::FloatTensor},
    tensor::{Tensor, TensorData, read_sync},
};

/// An engine of collective operations on values in the host's memory, such as MPI.
pub trait Collectives: Debug + Send + Sync {
    /// Returns this process's number, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of processes.
    fn count(&self) -> usize;

    /// Sums values over all ranks, element by element. All ranks get the same bits.
    fn sum(&self, values: Vec<f32>) -> Vec<f32>;

    /// Joins the bytes of all ranks, in the order of ranks. All give the same number of bytes.
    fn gather(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Returns the bytes that rank 0 gives; those of the others are ignored, and may differ in number.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Returns the highest number that a rank gives.
    fn highest(&self, number: u64) -> u64;

    /// Returns the seconds spent in operations so far, most of them waiting for other ranks.
    fn seconds(&self) -> f64;

    /// Sums the values of a tensor. An engine that reaches the device's memory need not copy them to the host.
    fn sum_tensor(&self, values: Tensor<1>) -> Tensor<1> {
        let (device, dtype) = (values.device(), values.dtype());
        let values = values.into_data().convert::<f32>().try_into_vec().expect("the data was just converted to f32");
        let sum = self.sum(values);
        let length = sum.len();
        Tensor::from_data(TensorData::new(sum, [length]), (&device, dtype))
    }
}

/// The ranks that train together; by default one.
#[derive(Debug, Clone, Default)]
pub struct Ranks(Option<Arc<dyn Collectives>>);

impl Ranks {
    /// Creates the ranks that `engine` connects.
    pub fn new(engine: Arc<dyn Collectives>) -> Self {
        Self((engine.count() > 1).then_some(engine))
    }

    /// Returns whether there is only one.
    pub fn is_single(&self) -> bool {
        self.0.is_none()
    }

    /// Returns this process's number, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |engine| engine.rank())
    }

    /// Returns the number of ranks.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |engine| engine.count())
    }

    /// Returns the mean of the ranks' values, element by element; the same bits on all ranks.
    pub fn mean(&self, values: Tensor<1>) -> Tensor<1> {
        match &self.0 {
            None => values,
            Some(engine) => engine.sum_tensor(values).div_scalar(engine.count() as f64),
        }
    }

    /// Joins the rows of all ranks, in the order of ranks: `[n, d]` to `[ranks n, d]`. The gradient of a row is the sum
    /// over the ranks of the gradients of its copies, so the sum of the ranks' losses is what is differentiated.
    pub fn gather(&self, rows: Tensor<2>) -> Tensor<2> {
        match &self.0 {
            None => rows,
            Some(engine) => Tensor::from_dispatch(Dispatch::gather_rows(rows.into_dispatch(), engine.clone())),
        }
    }

    /// Joins the bytes of all ranks, in the order of ranks; each may give another number.
    pub fn gather_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(engine) = &self.0 else { return bytes };
        let counts = engine.gather((bytes.len() as u64).to_le_bytes().to_vec());
        let counts = counts.as_chunks().0.iter().map(|count| u64::from_le_bytes(*count) as usize);
        let counts: Vec<usize> = counts.collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        bytes.resize(most, 0);
        let all = engine.gather(bytes);
        counts.iter().enumerate().flat_map(|(rank, count)| &all[rank * most..][..*count]).copied().collect()
    }

    /// Returns the bytes that rank 0 gives.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        match &self.0 {
            None => bytes,
            Some(engine) => engine.broadcast(bytes),
        }
    }

    /// Returns the highest number that a rank gives: what all ranks do next.
    pub fn agree(&self, number: u64) -> u64 {
        self.0.as_ref().map_or(number, |engine| engine.highest(number))
    }

    /// Returns the seconds spent in collective operations so far.
    pub fn seconds(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |engine| engine.seconds())
    }
}

/// The gathering of rows as an operation of a back end, on the host.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait RanksBackend: Backend {
    /// See [`Ranks::gather`].
    fn gather_rows(rows: FloatTensor<Self>, engine: Arc<dyn Collectives>) -> FloatTensor<Self> {
        let ([count, columns], dtype, device) = (rows.shape().dims(), rows.dtype(), rows.device());
        let all = engine.gather(read::<Self>(rows).as_bytes().to_vec());
        let shape = [engine.count() * count, columns];
        Self::float_from_data(TensorData::from_bytes_vec(all, shape, dtype), &device)
    }
}

/// The backward pass of [`RanksBackend::gather_rows`].
pub trait RanksBackward: RanksBackend {
    /// Returns the gradient of this rank's rows, given that of all.
    fn gather_rows_backward(gradient: FloatTensor<Self>, engine: &dyn Collectives) -> FloatTensor<Self> {
        let ([rows, columns], dtype, device) = (gradient.shape().dims(), gradient.dtype(), gradient.device());
        let gradient = read::<Self>(gradient).convert::<f32>();
        let sum = engine.sum(gradient.try_into_vec().expect("the data was just converted to f32"));
        let own = sum.len() / engine.count();
        let own = sum[engine.rank() * own..][..own].to_vec();
        let own = TensorData::new(own, [rows / engine.count(), columns]);
        Self::float_from_data(own.convert_dtype(dtype), &device)
    }
}

/// Reads a tensor's values.
fn read<B: Backend>(tensor: FloatTensor<B>) -> TensorData {
    read_sync(B::float_into_data(tensor)).expect("the device works")
}

impl RanksBackend for Flex {}

impl RanksBackward for Flex {}

#[cfg(feature = "webgpu")]
impl RanksBackend for burn_cubecl::CubeBackend {}

#[cfg(feature = "webgpu")]
impl RanksBackward for burn_cubecl::CubeBackend {}
