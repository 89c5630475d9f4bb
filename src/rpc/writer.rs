//! Frames onto a stream.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::frame::Frame;

/// Frames that are taken off the queue at once.
const BATCH: usize = 64;
/// Bodies up to this size are written together with what is around them.
const GATHERED: usize = 16 * 1024;
/// What was gathered is written when it is longer than this.
const FULL: usize = 64 * 1024;

/// A frame that waits to be written, with the room that its body takes of the connection's share.
pub(crate) struct Outgoing {
    pub(crate) frame: Frame,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self { frame, room: None }
    }
}

/// How often something is sent, and how long it may take until some of it is gone.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) keep_alive: Duration,
    pub(crate) silence: Duration,
}

/// Writes what comes out of the queue until all its senders are gone; then closes the stream. `wanted` is asked for each
/// frame right before it is written: no leaves it out.
pub(crate) async fn write_frames<W: AsyncWrite + Unpin>(
    mut to: W,
    mut queue: mpsc::Receiver<Outgoing>,
    pace: Pace,
    mut wanted: impl FnMut(&Frame) -> bool,
) -> io::Result<()> {
    let mut batch = Vec::new();
    let mut buffer = BytesMut::new();
    loop {
        match timeout(pace.keep_alive, queue.recv_many(&mut batch, BATCH)).await {
            Err(_) => batch.push(Frame::Alive.into()),
            Ok(0) => return within(pace.silence, to.shutdown()).await,
            Ok(_) => {
                // Whoever woke this task is often one of many that are about to write. Letting them run first makes one
                // record and one system call of all their frames: a fifth of the cost with 64 callers.
                tokio::task::yield_now().await;
                while batch.len() < BATCH
                    && let Ok(more) = queue.try_recv()
                {
                    batch.push(more);
                }
            }
        }
        for Outgoing { frame, room } in batch.drain(..) {
            if !wanted(&frame) {
                continue;
            }
            let body = frame.encode_head(&mut buffer);
            if body.len() <= GATHERED {
                buffer.extend_from_slice(&body);
            }
            if body.len() > GATHERED || buffer.len() > FULL {
                write_all(&mut to, &buffer, pace.silence).await?;
                buffer.clear();
            }
            if body.len() > GATHERED {
                write_all(&mut to, &body, pace.silence).await?;
            }
            drop(room);
        }
        write_all(&mut to, &buffer, pace.silence).await?;
        within(pace.silence, to.flush()).await?;
        buffer.clear();
        if buffer.capacity() > GATHERED {
            buffer = BytesMut::new();
        }
        if batch.capacity() > BATCH {
            batch = Vec::new();
        }
    }
}

/// Writes all, however long it takes, as long as some of it goes.
async fn write_all<W: AsyncWrite + Unpin>(
    to: &mut W,
    mut bytes: &[u8],
    silence: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = within(silence, to.write(bytes)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

async fn within<T>(
    silence: Duration,
    writing: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(silence, writing).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "nothing can be sent to it any more"))
    })
}
