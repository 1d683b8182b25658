//! Max pooling on GPUs is Burn's own, which is one launch.

use burn_cubecl::CubeBackend;

use super::{PoolBackend, PoolBackward};

impl PoolBackend for CubeBackend {}

impl PoolBackward for CubeBackend {}
