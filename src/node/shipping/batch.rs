//! Lines on their way: cut out of the files, each with the place after it.

use std::sync::Arc;

use driver::{LogChunk, LogCursor, LogError, LogPosition, LogStream};
use model::Timestamp;

use super::LogSource;

/// One stream of one task.
pub(super) type StreamOf = (Arc<LogSource>, LogStream);

/// A line to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) source: Arc<LogSource>,
    pub(super) stream: LogStream,
    /// Without its line end. Any bytes but that.
    pub(super) body: Vec<u8>,
    /// When it was read; the log does not say when it was written.
    pub(super) read_at: Timestamp,
    /// Whether these are our own words about what is missing.
    pub(super) ours: bool,
    /// The place after it.
    pub(super) end: LogPosition,
}

/// How much is taken at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Lines of a batch.
    pub(super) records: usize,
    /// Bytes of a batch; the last line may go beyond.
    pub(super) bytes: usize,
    /// Bytes of a line; a longer one is sent in pieces.
    pub(super) line: usize,
}

/// What is sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    bytes: usize,
}

impl Batch {
    pub(super) fn is_full(&self, limits: Limits) -> bool {
        self.records.len() >= limits.records || self.bytes >= limits.bytes
    }

    /// Takes the stream's finished lines until it ends or the batch is full. True if the end was reached.
    pub(super) fn fill(
        &mut self,
        of: &StreamOf,
        cursor: &mut LogCursor,
        limits: Limits,
        now: Timestamp,
    ) -> Result<bool, LogError> {
        let mut line = Vec::new();
        let mut end = cursor.position();
        while !self.is_full(limits) {
            let Some(chunk) = cursor.next_chunk()? else {
                if of.0.over && !line.is_empty() {
                    self.push(of, std::mem::take(&mut line), false, end, now);
                }
                return Ok(true);
            };
            let LogChunk { offset, data, gap, .. } = chunk;
            let after = cursor.position();
            let begin = after.total.saturating_sub(data.len() as u64);
            let place = |bytes: usize| LogPosition {
                file: after.file,
                offset: offset + bytes as u64,
                total: begin + bytes as u64,
            };
            if let Some(gap) = gap {
                if !line.is_empty() {
                    self.push(of, std::mem::take(&mut line), false, end, now);
                }
                self.push(of, format!("[herder: {gap}]").into_bytes(), true, place(0), now);
            }
            let mut at = 0;
            while at < data.len() && !self.is_full(limits) {
                let rest = data.get(at..).unwrap_or_default();
                let room = limits.line.saturating_sub(line.len()).max(1);
                let window = rest.get(..room).unwrap_or(rest);
                let ended = window.iter().position(|byte| *byte == b'\n');
                line.extend_from_slice(
                    window.get(..ended.unwrap_or(window.len())).unwrap_or_default(),
                );
                at += ended.map_or(window.len(), |ended| ended + 1);
                end = place(at);
                if ended.is_some() || line.len() >= limits.line {
                    self.push(of, std::mem::take(&mut line), false, end, now);
                }
            }
        }
        Ok(false)
    }

    fn push(&mut self, of: &StreamOf, body: Vec<u8>, ours: bool, end: LogPosition, now: Timestamp) {
        self.bytes += body.len() + 64;
        let (source, stream) = (Arc::clone(&of.0), of.1);
        self.records.push(Record { source, stream, body, read_at: now, ours, end });
    }
}
