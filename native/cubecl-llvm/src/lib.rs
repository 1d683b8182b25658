//! The types of CubeCL's LLVM back end that its CUDA runtime names, and nothing behind them.
//!
//! The real crate downloads a bundle of LLVM when it is built, which fails without internet. CUDA
//! kernels go through CubeCL's other compiler, C++ for NVRTC (`cubecl-cuda`'s feature `cpp`), so none of
//! this runs. A build without the feature `cuda` does not compile this crate.

use cubecl_core::{ir::nvidia::SmArch, prelude::KernelDefinition};
use cubecl_server::{compiler::CompilationError, kernel::BufferIOAttr};
use nvptx::ptx_version::PtxVersion;

/// What LLVM would compile for.
#[derive(Clone, Copy, Debug)]
pub enum LlvmTarget {
    /// NVIDIA's virtual instruction set.
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

/// What the compiler gives.
#[non_exhaustive]
pub enum PlironArtifact {
    /// For NVIDIA's GPUs.
    NvptxCode(NvptxModule),
}

impl PlironCompiler {
    /// There is no LLVM here.
    ///
    /// # Errors
    /// Always.
    pub fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this program was built without LLVM; CUDA kernels go through NVRTC".into(),
            backtrace: Default::default(),
        })
    }

    /// The language it would emit.
    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// NVIDIA's part.
pub mod nvptx {
    /// PTX versions.
    pub mod ptx_version {
        /// A version of PTX; never chosen here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(u32);

        impl PtxVersion {
            /// None: NVRTC chooses its own.
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

/// What targets share.
pub mod shared {
    /// Features that a back end lowers.
    pub mod lowered_features {
        /// The target.
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Changes nothing: called only for LLVM.
        pub fn restrict_features(_: &mut cubecl_core::ir::DeviceProperties, _: GpuTarget) {}
    }
}
