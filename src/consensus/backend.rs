//! The log's file as redb sees it, with its flushes counted.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};

use crate::counters::Counters;

pub(crate) struct Backend {
    file: FileBackend,
    counters: Arc<Counters>,
    #[cfg(test)]
    faults: Arc<Faults>,
}

/// A disk that can be told to be full.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) full: std::sync::atomic::AtomicBool,
}

impl Backend {
    pub(crate) fn new(
        file: File,
        counters: Arc<Counters>,
        #[cfg(test)] faults: Arc<Faults>,
    ) -> Result<Self, DatabaseError> {
        Ok(Self {
            file: FileBackend::new(file)?,
            counters,
            #[cfg(test)]
            faults,
        })
    }

    fn check(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.full.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

/// Locking is left out on purpose: [`crate::guard::DirGuard`] holds the whole directory.
impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.counters.synced();
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
