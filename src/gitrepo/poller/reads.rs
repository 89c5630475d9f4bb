//! The thread that reads from the mirror.

use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Read;
use crate::reader::Reader;

/// Answers reads until `stop`, or until nobody can ask any more.
pub(super) async fn run(
    path: PathBuf,
    place: String,
    mut reads: mpsc::Receiver<Read>,
    stop: CancellationToken,
) {
    let mut reader: Option<Reader> = None;
    while let Some(Some(read)) = stop.run_until_cancelled(reads.recv()).await {
        if reader.as_ref().is_none_or(|reader| !reader.repo().path().exists()) {
            match Reader::open_bare(&path, place.clone()) {
                Ok(opened) => reader = Some(opened),
                Err(error) => {
                    read(Err(error));
                    continue;
                }
            }
        }
        if let Some(reader) = &reader {
            read(Ok(reader));
        }
    }
}
