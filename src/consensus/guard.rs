//! One agent per directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::ConsensusError;

/// Holds the directory until dropped; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct DirGuard {
    _file: File,
}

impl DirGuard {
    pub(crate) fn take(dir: &Path) -> Result<Self, ConsensusError> {
        let path = dir.join("lock");
        let io = |what| {
            let path = path.clone();
            move |source| ConsensusError::Io { what, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is a courtesy; not knowing changes nothing.
                let _ = (&mut file).take(16).read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(ConsensusError::InUse { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        file.set_len(0).map_err(io("write"))?;
        file.seek(SeekFrom::Start(0)).map_err(io("write"))?;
        write!(file, "{}", std::process::id()).map_err(io("write"))?;
        Ok(Self { _file: file })
    }
}
