//! The sum of two gradients on the CPU, on all cores.

use burn::backend::{Flex, ops::FloatTensorOps, tensor::FloatTensor};

use super::{ForkBackend, ForkBackward};
use crate::cpu::{by_type, zip_map_inplace};

impl ForkBackend for Flex {}

impl ForkBackward for Flex {
    fn fork_backward(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self> {
        by_type!(
            first.dtype(),
            T => {
                let [sum] = zip_map_inplace::<T, _, _, _>(
                    [first],
                    [&second],
                    #[inline(always)]
                    |_| {
                        #[inline(always)]
                        |[first], [second]| [first + second]
                    },
                );
                sum
            },
            else Self::float_add(first, second)
        )
    }
}
