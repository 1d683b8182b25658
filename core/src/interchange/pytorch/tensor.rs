//! Tensors as strided views of storages.

use std::rc::Rc;

/// The elements that tensors are views of.
#[derive(Debug)]
pub struct Storage {
    /// Its Python type, such as `torch.FloatStorage`.
    pub kind: Rc<str>,
    /// Its name in the file.
    pub key: Rc<str>,
}

/// Returns the bytes of an element of a storage of the Python type `kind`. `None` for types that are not supported, such
/// as those of quantised and complex tensors.
pub fn element_size(kind: &str) -> Option<usize> {
    match kind {
        "torch.DoubleStorage" | "torch.LongStorage" => Some(8),
        "torch.FloatStorage" | "torch.IntStorage" => Some(4),
        "torch.HalfStorage" | "torch.BFloat16Storage" | "torch.ShortStorage" => Some(2),
        "torch.CharStorage" | "torch.ByteStorage" | "torch.BoolStorage" | "torch.storage.UntypedStorage" => Some(1),
        _ => None,
    }
}

/// A strided view of a storage.
#[derive(Debug)]
pub struct Tensor {
    pub storage: Rc<Storage>,
    /// Index of the first element in the storage.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Elements of the storage from one index of a dimension to the next.
    pub strides: Vec<usize>,
}

impl Tensor {
    /// Returns the number of elements. `None` if it overflows.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
    }

    /// Returns the bytes of the elements, `size` each, in row-major order. `None` if the storage does not hold all.
    pub fn gather(&self, storage: &[u8], size: usize, elements: usize) -> Option<Vec<u8>> {
        if elements == 0 {
            return Some(Vec::new());
        }
        let dimensions = || self.shape.iter().zip(&self.strides);
        let last = dimensions()
            .try_fold(self.offset, |last, (along, stride)| last.checked_add((along - 1).checked_mul(*stride)?))?;
        let end = last.checked_add(1)?.checked_mul(size)?;
        let storage = storage.get(self.offset * size..end)?;
        if storage.len() == elements * size && self.is_contiguous() {
            return Some(storage.to_vec());
        }
        let mut values = Vec::with_capacity(elements * size);
        for element in 0..elements {
            let (mut rest, mut at) = (element, 0);
            for (along, stride) in dimensions().rev() {
                at += rest % along * stride;
                rest /= along;
            }
            values.extend_from_slice(&storage[at * size..][..size]);
        }
        Some(values)
    }

    /// Whether the elements lie one after the other, in row-major order.
    fn is_contiguous(&self) -> bool {
        let dimensions = self.shape.iter().zip(&self.strides).rev().filter(|(along, _)| **along > 1);
        let mut below = 1;
        dimensions.into_iter().all(|(along, stride)| {
            let in_order = *stride == below;
            below *= along;
            in_order
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_overflow_are_refused() {
        let tensor = |shape: &[usize], strides: &[usize], offset| Tensor {
            storage: Rc::new(Storage { kind: "torch.FloatStorage".into(), key: "0".into() }),
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        assert_eq!(tensor(&[usize::MAX, 2], &[1, 1], 0).elements(), None);
        let overflowing = [(2, usize::MAX, 1), (3, usize::MAX, 0), (1, 1, usize::MAX / 2)];
        for (along, stride, offset) in overflowing {
            assert_eq!(tensor(&[along], &[stride], offset).gather(&[0; 16], 4, along), None);
        }
    }
}
