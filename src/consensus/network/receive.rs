//! A snapshot as it arrives: into a temporary file, piece by piece, a few at a time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::snapshot::{MAX_BYTES, SnapshotData, Snapshots};
use crate::wire::{Piece, Triple};

/// How many are received at a time. There is one leader, and now and then an old one that does not know it yet.
const AT_A_TIME: usize = 2;
/// After this long without a piece, one makes room for another.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a piece.
pub(crate) enum Received {
    /// The sender goes on here.
    At(u64),
    /// It was the last.
    Whole(Incoming),
}

/// A file being filled. It is removed when this is dropped: whoever wants it has read it by then.
pub(crate) struct Incoming {
    last: Option<Triple>,
    length: u64,
    file: Arc<File>,
    path: PathBuf,
    written: u64,
    touched: Instant,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Incoming {
    fn begin(path: PathBuf, last: Option<Triple>, length: u64) -> io::Result<Self> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let touched = Instant::now();
        Ok(Self { last, length, file: Arc::new(file), path, written: 0, touched })
    }

    async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let (file, offset, length) = (self.file.clone(), self.written, bytes.len() as u64);
        tokio::task::spawn_blocking(move || file.write_all_at(&bytes, offset))
            .await
            .map_err(io::Error::other)??;
        self.written += length;
        self.touched = Instant::now();
        Ok(())
    }

    /// The file, to be read. Nothing of it was checked yet but its single pieces.
    pub(crate) fn open(&self) -> Result<SnapshotData, crate::ConsensusError> {
        SnapshotData::open(&self.path)
    }
}

/// What is being received, by sender.
pub(crate) struct Receiver {
    snapshots: Arc<Snapshots>,
    incoming: Mutex<BTreeMap<u64, Incoming>>,
}

impl Receiver {
    pub(crate) fn new(snapshots: Arc<Snapshots>) -> Self {
        Self { snapshots, incoming: Mutex::default() }
    }

    /// Takes a piece of the snapshot that ends at `last` and has `length` bytes.
    pub(crate) async fn take(
        &self,
        from: u64,
        last: Option<Triple>,
        length: u64,
        piece: Piece,
    ) -> Result<Received, String> {
        if length > MAX_BYTES {
            return Err(format!("the snapshot has {length} bytes, the limit is {MAX_BYTES}"));
        }
        if !piece.is_whole() {
            return Err("a piece of the snapshot changed on its way".to_owned());
        }
        let failed = |error: io::Error| format!("the snapshot could not be stored: {error}");
        let mut all = self.incoming.lock().await;
        all.retain(|_, incoming| incoming.touched.elapsed() < PATIENCE);
        let same = all.get(&from).is_some_and(|known| known.last == last && known.length == length);
        if !same {
            all.remove(&from);
            if all.len() >= AT_A_TIME {
                return Err(format!("{AT_A_TIME} snapshots are being received already"));
            }
            let path = self.snapshots.incoming(&from.to_string());
            all.insert(from, Incoming::begin(path, last, length).map_err(failed)?);
        }
        let Some(incoming) = all.get_mut(&from) else { return Ok(Received::At(0)) };
        let end = piece.offset.saturating_add(piece.bytes.len() as u64);
        if piece.offset != incoming.written || end > length {
            return Ok(Received::At(incoming.written));
        }
        if let Err(error) = incoming.write(piece.bytes).await {
            all.remove(&from);
            return Err(failed(error));
        }
        if incoming.written < length {
            return Ok(Received::At(incoming.written));
        }
        Ok(all.remove(&from).map_or(Received::At(0), Received::Whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(dir: &std::path::Path) -> Receiver {
        let (snapshots, _) = Snapshots::open(dir.to_owned(), None).expect("it opens");
        Receiver::new(Arc::new(snapshots))
    }

    async fn take(receiver: &Receiver, from: u64, offset: u64, bytes: &[u8]) -> Option<u64> {
        let piece = Piece::new(offset, bytes.to_vec());
        match receiver.take(from, Some([1, 1, 9]), 6, piece).await.expect("it is taken") {
            Received::At(next) => Some(next),
            Received::Whole(_) => None,
        }
    }

    #[tokio::test]
    async fn pieces_are_put_together_and_lost_ones_asked_for_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let receiver = receiver(dir.path());
        assert_eq!(take(&receiver, 1, 0, b"").await, Some(0));
        assert_eq!(take(&receiver, 1, 0, b"abc").await, Some(3));
        assert_eq!(take(&receiver, 1, 0, b"abc").await, Some(3), "it came twice");
        assert_eq!(take(&receiver, 1, 4, b"ef").await, Some(3), "one was lost");
        assert_eq!(take(&receiver, 1, 3, b"defg").await, Some(3), "more than announced");
        let piece = Piece::new(3, b"def".to_vec());
        let Ok(Received::Whole(incoming)) = receiver.take(1, Some([1, 1, 9]), 6, piece).await
        else {
            panic!("it was the last piece")
        };
        assert_eq!(std::fs::read(&incoming.path).expect("it is there"), b"abcdef");
        let path = incoming.path.clone();
        drop(incoming);
        assert!(!path.exists(), "it does not stay behind");
    }

    #[tokio::test]
    async fn a_few_at_a_time_and_a_newer_one_takes_the_place_of_an_older() {
        let dir = tempfile::tempdir().expect("a folder");
        let receiver = receiver(dir.path());
        assert_eq!(take(&receiver, 1, 0, b"abc").await, Some(3));
        assert_eq!(take(&receiver, 2, 0, b"abc").await, Some(3));
        let third = receiver.take(3, None, 6, Piece::new(0, Vec::new())).await;
        assert!(third.is_err_and(|reason| reason.contains("already")));
        let newer = receiver.take(1, Some([1, 1, 20]), 6, Piece::new(0, Vec::new())).await;
        assert!(matches!(newer, Ok(Received::At(0))));
        let huge = receiver.take(1, None, u64::MAX, Piece::new(0, Vec::new())).await;
        assert!(huge.is_err());
    }
}
