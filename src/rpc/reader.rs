//! Frames off a stream.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::frame::{Frame, FrameError, decode, missing};

/// Read at least so much at once.
const PIECE: usize = 4 * 1024;
/// Make room for at most so much before it has arrived, whatever a length says.
const AHEAD: usize = 1024 * 1024;
/// A larger buffer than this is not kept once it is empty.
const KEPT: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{}", crate::error::io_words(.0))]
    Io(io::Error),
    #[error("nothing was heard of it for {0:?}")]
    Silent(Duration),
    #[error("it ended in the middle of a frame")]
    Cut,
}

pub(crate) struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
    limit: usize,
    silence: Duration,
    heard: Instant,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Frames of at most `limit` bytes; a stream on which nothing arrives for `silence` is dead.
    pub(crate) fn new(from: R, limit: usize, silence: Duration) -> Self {
        Self { from, buffer: BytesMut::new(), limit, silence, heard: Instant::now() }
    }

    /// From now on, nothing may be silent for longer than this.
    pub(crate) fn set_silence(&mut self, silence: Duration) {
        self.silence = silence;
    }

    /// The time in which nobody wanted to read does not count as silence.
    pub(crate) fn was_away(&mut self) {
        self.heard = Instant::now();
    }

    /// Reads to the end, and keeps nothing. The caller bounds the time.
    pub(crate) async fn drain(&mut self) {
        self.buffer = BytesMut::with_capacity(PIECE);
        while matches!(self.from.read_buf(&mut self.buffer).await, Ok(read) if read > 0) {
            self.buffer.clear();
        }
    }

    /// The next frame; `None` at the end of the stream. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = decode(&mut self.buffer, self.limit)? {
                if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
                    self.buffer = BytesMut::new();
                }
                return Ok(Some(frame));
            }
            let wanted = missing(&self.buffer, self.limit).clamp(PIECE, AHEAD);
            self.buffer.reserve(wanted);
            let read = timeout_at(self.heard + self.silence, self.from.read_buf(&mut self.buffer));
            match read.await {
                Err(_) => return Err(ReadError::Silent(self.silence)),
                // Between two frames an end is an end, whether TLS was told or not: nothing can be missing.
                Ok(Err(error)) if is_end(&error) && self.buffer.is_empty() => return Ok(None),
                Ok(Err(error)) => return Err(ReadError::Io(error)),
                Ok(Ok(0)) if self.buffer.is_empty() => return Ok(None),
                Ok(Ok(0)) => return Err(ReadError::Cut),
                Ok(Ok(_)) => self.heard = Instant::now(),
            }
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}
