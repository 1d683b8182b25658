//! Recognises files by their first bytes, whatever their names.

use super::{not_a_network::NotANetwork, pytorch, safetensors_file};

/// The kinds of file that hold networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A safetensors file, of this program or another.
    Safetensors,
    /// What `torch.save` writes.
    Pytorch,
}

impl FileKind {
    /// Returns the kind of the file that begins with `bytes`.
    ///
    /// # Errors
    /// If it is another kind, with what it is.
    pub fn of(bytes: &[u8]) -> Result<Self, NotANetwork> {
        if safetensors_file::recognises(bytes) {
            Ok(Self::Safetensors)
        } else if pytorch::recognises(bytes) {
            Ok(Self::Pytorch)
        } else {
            Err(NotANetwork::of(bytes))
        }
    }
}
