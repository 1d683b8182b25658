//! Stubs of the types of CubeCL's LLVM back end that its CUDA runtime refers to.
//!
//! The real crate downloads LLVM when it is built, which fails without internet. CUDA kernels are compiled by CubeCL's
//! other compiler, C++ for NVRTC (`cubecl-cuda`'s feature `cpp`), so none of this runs. A build without the feature
//! `cuda` does not compile this crate.

use cubecl_core::{ir::nvidia::SmArch, prelude::KernelDefinition};
use cubecl_server::{compiler::CompilationError, kernel::BufferIOAttr};
use nvptx::ptx_version::PtxVersion;

/// A compilation target.
#[derive(Clone, Copy, Debug)]
pub enum LlvmTarget {
    /// NVIDIA's PTX.
    Nvptx,
}

/// The compiler.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// Its target.
    pub target: LlvmTarget,
}

/// Its options.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Unused by CUDA.
    pub arch: Option<()>,
    /// The device.
    pub sm_arch: Option<SmArch>,
    /// The PTX to emit.
    pub ptx_version: Option<PtxVersion>,
    /// How launch parameters are passed.
    pub grid_constants: bool,
}

/// A compiled kernel.
#[derive(Debug)]
pub struct NvptxModule {
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// How the kernel uses its buffers.
    pub io: Vec<BufferIOAttr>,
    /// LLVM's assembly.
    pub ir: String,
    /// PTX, zero-terminated.
    pub ptx: Vec<std::ffi::c_char>,
}

/// The compiler's output.
#[non_exhaustive]
pub enum PlironArtifact {
    /// For NVIDIA's GPUs.
    NvptxCode(NvptxModule),
}

impl PlironCompiler {
    /// Fails.
    ///
    /// # Errors
    /// Always, because there is no LLVM.
    pub fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this program was built without LLVM; CUDA kernels go through NVRTC".into(),
            backtrace: Default::default(),
        })
    }

    /// Returns the name of the compiler's language.
    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// NVIDIA's target.
pub mod nvptx {
    /// PTX versions.
    pub mod ptx_version {
        /// A version of PTX.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(u32);

        impl PtxVersion {
            /// Returns `None`, because NVRTC chooses the version.
            pub fn for_driver(_: i32) -> Option<Self> {
                None
            }
        }

        impl std::fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                write!(f, "ptx{}", self.0)
            }
        }
    }
}

/// Common to all targets.
pub mod shared {
    /// Features lowered by a back end.
    pub mod lowered_features {
        /// The target.
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Does nothing, as it is called only for LLVM.
        pub fn restrict_features(_: &mut cubecl_core::ir::DeviceProperties, _: GpuTarget) {}
    }
}
