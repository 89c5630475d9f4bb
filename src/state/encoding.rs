//! Commands as the log and the wire hold them: MessagePack with names, so that fields may come and go.

pub(crate) mod placed;

use crate::Command;

impl Command {
    /// The command as bytes.
    ///
    /// # Errors
    /// None that a command of this version meets.
    pub fn to_bytes(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec_named(self)
    }

    /// The command that [`Command::to_bytes`] wrote, in this version or an earlier one.
    ///
    /// # Errors
    /// When the bytes are not a command that this version knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }
}
