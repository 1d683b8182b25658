//! Max pooling on GPUs: Burn's own, which is one launch.

use burn_cubecl::CubeBackend;

use super::PoolBackend;

impl PoolBackend for CubeBackend {}
