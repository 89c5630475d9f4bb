//! A place in a stream that moves on as it is read, across its files. Blocks on the disk and knows no runtime.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::LogDir;
use super::{LogError, LogStream, prefix};

/// The most that one chunk holds, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;

/// How far back the last lines are looked for, in bytes.
const TAIL_LIMIT: u64 = 16 * 1024 * 1024;

/// How often a place is looked for again when the writer removes files meanwhile.
const ATTEMPTS: usize = 16;

/// Of so many looks at the end of a log, one goes through the whole directory.
const THOROUGH: u32 = 16;

/// Where to begin. Offsets count over all files that are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// This many bytes after the oldest that is kept.
    Offset(u64),
    /// This many bytes before the end.
    TailBytes(u64),
    /// This many lines before the end; what is more than 16 MiB back is not looked for.
    TailLines(u32),
}

/// What a reader did not get, because it was rotated away before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// How many bytes; `None` when nobody knows.
    pub bytes: Option<u64>,
}

impl std::fmt::Display for LogGap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bytes {
            Some(bytes) => write!(f, "{bytes} bytes were rotated away before they were read"),
            None => f.write_str("output was rotated away before it was read"),
        }
    }
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// The name of the file it is in.
    pub file: String,
    /// Where it begins in that file.
    pub offset: u64,
    /// The bytes; at most 64 KiB and never empty.
    pub data: Vec<u8>,
    /// What is missing between the piece before and this one.
    pub gap: Option<LogGap>,
}

/// A place that can be stored and come back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The number of the file.
    pub file: u64,
    /// Bytes into it.
    pub offset: u64,
    /// The same counted from the stream's first byte, whether or not that is still kept.
    pub total: u64,
}

/// A place in a stream, and the files it is in.
#[derive(Debug)]
pub struct LogCursor {
    path: PathBuf,
    prefix: String,
    dir: Option<LogDir>,
    /// The last file that was entered; `None` before the first.
    index: Option<u64>,
    /// Open as long as it is being read, so that its removal takes nothing away.
    file: Option<File>,
    offset: u64,
    total: u64,
    gap: Option<LogGap>,
    looks: u32,
}

impl LogCursor {
    /// Opens a stream at `start`. A stream without files is empty.
    ///
    /// # Errors
    /// When the task's name cannot be one, or the disk refuses.
    pub fn open(
        dir: &Path,
        task: &str,
        stream: LogStream,
        start: LogStart,
    ) -> Result<Self, LogError> {
        let mut cursor = Self::nowhere(dir, task, stream)?;
        for _ in 0..ATTEMPTS {
            if cursor.seek(start)? {
                return Ok(cursor);
            }
        }
        Err(LogError::Io { path: cursor.path, source: io::ErrorKind::ResourceBusy.into() })
    }

    /// Goes on at a place that was stored. What was rotated away since is told with the next piece.
    ///
    /// # Errors
    /// When the task's name cannot be one, or the disk refuses.
    pub fn resume(
        dir: &Path,
        task: &str,
        stream: LogStream,
        position: LogPosition,
    ) -> Result<Self, LogError> {
        let mut cursor = Self::nowhere(dir, task, stream)?;
        (cursor.index, cursor.offset) = (Some(position.file), position.offset);
        cursor.total = position.total;
        cursor.file = cursor.open_file(position.file)?;
        // A file that is not there yet, of a task that has written nothing.
        if cursor.file.is_none() && position == LogPosition::default() {
            cursor.index = None;
        }
        Ok(cursor)
    }

    fn nowhere(dir: &Path, task: &str, stream: LogStream) -> Result<Self, LogError> {
        Ok(Self {
            path: dir.to_owned(),
            prefix: prefix(task, stream)?,
            dir: None,
            index: None,
            file: None,
            offset: 0,
            total: 0,
            gap: None,
            looks: THOROUGH - 1,
        })
    }

    /// Where the next piece begins.
    pub fn position(&self) -> LogPosition {
        let file = self.index.unwrap_or_default();
        LogPosition { file, offset: self.offset, total: self.total }
    }

    /// The next piece, or `None` at the end of what is there by now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn next_chunk(&mut self) -> Result<Option<LogChunk>, LogError> {
        loop {
            if let Some(chunk) = self.read()? {
                return Ok(Some(chunk));
            }
            let Some((index, file)) = self.newer()? else { return Ok(None) };
            // The writer finishes a file before it makes the next. Now that the next is seen, one more read gets what
            // was written between the read above and the look at the directory.
            if let Some(chunk) = self.read()? {
                return Ok(Some(chunk));
            }
            if !self.enter(index, file)? {
                return Ok(None);
            }
        }
    }

    /// Goes to `start`; false if a file went away meanwhile.
    fn seek(&mut self, start: LogStart) -> Result<bool, LogError> {
        let files = self.files()?;
        let Some(dir) = &self.dir else { return Ok(true) };
        let size: u64 = files.iter().map(|(_, size)| size).sum();
        let mut offset = match start {
            LogStart::Offset(offset) => offset.min(size),
            LogStart::TailBytes(bytes) => size.saturating_sub(bytes),
            LogStart::TailLines(lines) => tail_lines(dir, &self.prefix, &files, lines),
        };
        let offsets = dir.offsets(&self.prefix);
        let mut begin = 0;
        let last = files.last().map(|(index, _)| *index);
        for (index, size) in files {
            begin = offsets.get(&index).copied().unwrap_or(begin);
            if offset < size || Some(index) == last {
                match dir.read(&format!("{}{index}", self.prefix)) {
                    Ok(file) => self.file = Some(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    Err(source) => return Err(self.failed(source)),
                }
                (self.index, self.offset, self.total) = (Some(index), offset, begin + offset);
                return Ok(true);
            }
            offset -= size;
            begin = begin.saturating_add(size);
        }
        Ok(true)
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Io { path: self.path.clone(), source }
    }

    /// The directory, once it is there.
    fn dir(&mut self) -> Result<Option<&LogDir>, LogError> {
        if self.dir.is_none() {
            match LogDir::open(&self.path) {
                Ok(dir) => self.dir = Some(dir),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
        Ok(self.dir.as_ref())
    }

    fn files(&mut self) -> Result<Vec<(u64, u64)>, LogError> {
        let prefix = self.prefix.clone();
        match self.dir()?.map(|dir| dir.files(&prefix)) {
            Some(listed) => listed.map_err(|source| self.failed(source)),
            None => Ok(Vec::new()),
        }
    }

    fn open_file(&mut self, index: u64) -> Result<Option<File>, LogError> {
        let name = format!("{}{index}", self.prefix);
        match self.dir()?.map(|dir| dir.read(&name)) {
            Some(Ok(file)) => Ok(Some(file)),
            None => Ok(None),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // The writer passes over what stands in its way, and so does the reader.
            Some(Err(error)) if super::directory::is_foreign(&error) => Ok(None),
            Some(Err(source)) => Err(self.failed(source)),
        }
    }

    /// The file after the current one.
    fn newer(&mut self) -> Result<Option<(u64, File)>, LogError> {
        if let Some(index) = self.index {
            if let Some(file) = self.open_file(index + 1)? {
                return Ok(Some((index + 1, file)));
            }
            // As long as the current file has its name it is most likely the newest.
            let named = |file: &File| file.metadata().is_ok_and(|meta| meta.nlink() > 0);
            self.looks = self.looks.wrapping_add(1);
            if self.file.as_ref().is_some_and(named) && !self.looks.is_multiple_of(THOROUGH) {
                return Ok(None);
            }
        }
        // A listing may show a file and not the one made before it, if both came while it was read. What was there
        // before it began is shown for certain; so the first one is only believed when the listing before had reached it.
        let mut known = None;
        for _ in 0..ATTEMPTS {
            let files = self.files()?;
            let is_newer = |(index, _): &&(u64, u64)| self.index.is_none_or(|at| *index > at);
            let Some(&(first, _)) = files.iter().find(is_newer) else { return Ok(None) };
            if known.is_some_and(|known| first <= known)
                && let Some(file) = self.open_file(first)?
            {
                return Ok(Some((first, file)));
            }
            known = files.last().map(|(index, _)| *index);
        }
        // The writer is faster than the looks: the next call tries again.
        Ok(None)
    }

    /// Goes to the beginning of a file; false if it was rotated away by now, with what was written down of its place.
    fn enter(&mut self, index: u64, file: File) -> Result<bool, LogError> {
        let prefix = self.prefix.clone();
        let follows = match self.index {
            Some(at) => index == at + 1 && self.file.is_some(),
            None => index == 0,
        };
        let begin = self.dir()?.and_then(|dir| dir.offsets(&prefix).get(&index).copied());
        let gone = || file.metadata().is_ok_and(|meta| meta.nlink() == 0);
        match begin {
            // There is a newer one whose place is known, and from which the gap can be told.
            None if !follows && gone() => return Ok(false),
            Some(begin) if begin > self.total => {
                self.gap = Some(LogGap { bytes: Some(begin - self.total) });
                self.total = begin;
            }
            None if !follows => self.gap = Some(LogGap { bytes: None }),
            _ => {}
        }
        (self.index, self.file, self.offset) = (Some(index), Some(file), 0);
        self.looks = THOROUGH - 1;
        Ok(true)
    }

    fn read(&mut self) -> Result<Option<LogChunk>, LogError> {
        let (Some(index), Some(file)) = (self.index, &self.file) else { return Ok(None) };
        let name = format!("{}{index}", self.prefix);
        let failed = |source| LogError::Io { path: self.path.join(&name), source };
        let mut data = vec![0; CHUNK];
        let count = loop {
            match file.read_at(&mut data, self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(failed)?,
            }
        };
        if count == 0 {
            // Somebody emptied the file by hand; what comes now is at its beginning.
            if file.metadata().is_ok_and(|meta| meta.len() < self.offset) {
                self.offset = 0;
                self.gap = Some(LogGap { bytes: None });
            }
            return Ok(None);
        }
        data.truncate(count);
        let offset = self.offset;
        self.offset += count as u64;
        self.total += count as u64;
        Ok(Some(LogChunk { file: name, offset, data, gap: self.gap.take() }))
    }
}

/// Where the last `lines` lines begin, counted over all files. A file that cannot be read counts as having no line ends.
fn tail_lines(dir: &LogDir, prefix: &str, files: &[(u64, u64)], lines: u32) -> u64 {
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    if lines == 0 {
        return total;
    }
    let mut missing = u64::from(lines);
    let mut begin_of_file = total;
    let mut buffer = vec![0; CHUNK];
    for (index, size) in files.iter().rev() {
        begin_of_file -= size;
        let Ok(file) = dir.read(&format!("{prefix}{index}")) else { continue };
        let mut end = *size;
        while end > 0 {
            let start = end.saturating_sub(CHUNK as u64);
            let length = usize::try_from(end - start).unwrap_or(CHUNK);
            let Some(block) = buffer.get_mut(..length) else { break };
            if file.read_exact_at(block, start).is_err() {
                break;
            }
            for (at, byte) in block.iter().enumerate().rev() {
                let after = begin_of_file + start + at as u64 + 1;
                // The very last line end closes the last line and begins none.
                if *byte == b'\n' && after != total {
                    missing -= 1;
                    if missing == 0 {
                        return after;
                    }
                }
            }
            if total - (begin_of_file + start) >= TAIL_LIMIT {
                return begin_of_file + start;
            }
            end = start;
        }
    }
    0
}
