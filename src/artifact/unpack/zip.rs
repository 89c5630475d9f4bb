//! Zip archives, read from their directory at the end, one entry at a time: what is in memory does not grow with the
//! archive. Stored and deflated files, as every tool writes them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt as _;

use flate2::read::DeflateDecoder;

use crate::FetchError;
use crate::tree::{Bounds, Tree, refused};

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// The end's own length, and the longest comment after it.
const END_LENGTH: usize = 22;
const MAX_COMMENT: usize = 0xffff;
/// The longest target of a link.
const MAX_TARGET: u64 = 4096;

/// A part of the file, read at once. Everything in it is looked up with bounds.
struct Bytes(Vec<u8>);

impl Bytes {
    fn read(file: &File, at: u64, length: usize) -> Result<Self, FetchError> {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).map_err(|_| broken("it ends too early"))?;
        Ok(Self(bytes))
    }

    fn number<const N: usize>(&self, at: usize) -> Result<u64, FetchError> {
        let bytes = self.0.get(at..at + N).ok_or_else(|| broken("a field is cut off"))?;
        Ok(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    fn u16(&self, at: usize) -> Result<u64, FetchError> {
        self.number::<2>(at)
    }

    fn u32(&self, at: usize) -> Result<u64, FetchError> {
        self.number::<4>(at)
    }

    fn u64(&self, at: usize) -> Result<u64, FetchError> {
        self.number::<8>(at)
    }
}

fn broken(words: &str) -> FetchError {
    FetchError::refused(format!("the zip archive cannot be read: {words}"))
}

/// Where the directory is and how many entries it has.
struct Directory {
    offset: u64,
    end: u64,
    entries: u64,
}

struct Entry {
    name: Vec<u8>,
    flags: u64,
    method: u64,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
    /// Unix mode with the type of file; 0 where the archive was made elsewhere.
    mode: u32,
}

/// Reads all entries.
pub(super) fn read(file: &File, bounds: Bounds, tree: &mut Tree) -> Result<(), FetchError> {
    let length =
        file.metadata().map_err(|error| FetchError::system("reading the archive", error))?.len();
    let directory = directory(file, length)?;
    let mut at = directory.offset;
    for _ in 0..directory.entries {
        let (entry, next) = entry(file, at)?;
        if next > directory.end {
            return Err(broken("its directory is longer than it says"));
        }
        at = next;
        let name = entry.name.as_slice();
        if entry.flags & 1 != 0 {
            return Err(refused(name, "is encrypted"));
        }
        let kind = entry.mode & 0o170_000;
        let mode = match entry.mode & 0o777 {
            0 => {
                if name.ends_with(b"/") {
                    0o755
                } else {
                    0o644
                }
            }
            mode => mode,
        };
        match kind {
            _ if name.ends_with(b"/") => tree.folder(name, mode)?,
            0o040_000 => tree.folder(name, mode)?,
            0 | 0o100_000 => {
                // Sizes that the directory claims are no reason to trust them, and a good one to refuse early.
                bounds.check(tree.size().1.saturating_add(entry.size))?;
                let mut content = content(file, &entry)?;
                tree.file(name, mode, &mut content)?;
                content.check(&entry)?;
            }
            0o120_000 => {
                let mut target = Vec::new();
                content(file, &entry)?
                    .take(MAX_TARGET + 1)
                    .read_to_end(&mut target)
                    .map_err(|error| refused(name, &format!("cannot be read: {error}")))?;
                tree.link(name, &target)?;
            }
            0o010_000 => return Err(refused(name, "is a named pipe")),
            0o020_000 | 0o060_000 => return Err(refused(name, "is a device")),
            _ => return Err(refused(name, "is neither a file nor a folder nor a link")),
        }
    }
    Ok(())
}

fn directory(file: &File, length: u64) -> Result<Directory, FetchError> {
    let tail = usize::try_from(length).unwrap_or(usize::MAX).min(END_LENGTH + MAX_COMMENT);
    let start = length - tail as u64;
    let bytes = Bytes::read(file, start, tail)?;
    let last = tail.checked_sub(END_LENGTH).ok_or_else(|| broken("it is too short"))?;
    let at = (0..=last).rev().find(|at| {
        bytes.u32(*at).is_ok_and(|magic| magic == u64::from(END))
            && bytes.u16(at + 20).is_ok_and(|comment| at + END_LENGTH + comment as usize == tail)
    });
    let at = at.ok_or_else(|| broken("it has no directory at its end"))?;
    let (mut entries, mut size, mut offset) =
        (bytes.u16(at + 10)?, bytes.u32(at + 12)?, bytes.u32(at + 16)?);
    if entries == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff {
        let locator =
            (start + at as u64).checked_sub(20).ok_or_else(|| broken("it has no directory"))?;
        let locator = Bytes::read(file, locator, 20)?;
        if locator.u32(0)? == u64::from(LOCATOR_64) {
            let end = Bytes::read(file, locator.u64(8)?, 56)?;
            if end.u32(0)? != u64::from(END_64) {
                return Err(broken("its directory is not where it says"));
            }
            (entries, size, offset) = (end.u64(32)?, end.u64(40)?, end.u64(48)?);
        }
    }
    let end = offset.checked_add(size).filter(|end| *end <= length);
    let end = end.ok_or_else(|| broken("its directory lies behind its end"))?;
    Ok(Directory { offset, end, entries })
}

fn entry(file: &File, at: u64) -> Result<(Entry, u64), FetchError> {
    let fixed = Bytes::read(file, at, 46)?;
    if fixed.u32(0)? != u64::from(ENTRY) {
        return Err(broken("its directory is damaged"));
    }
    let (name, extra, comment) = (fixed.u16(28)?, fixed.u16(30)?, fixed.u16(32)?);
    let behind = at + 46;
    let name_bytes = Bytes::read(file, behind, name as usize)?.0;
    let extra_bytes = Bytes::read(file, behind + name, extra as usize)?;
    let made_on = fixed.u16(4)? >> 8;
    // Unix, and macOS.
    let mode = if matches!(made_on, 3 | 19) { (fixed.u32(38)? >> 16) as u32 } else { 0 };
    let mut entry = Entry {
        name: name_bytes,
        flags: fixed.u16(8)?,
        method: fixed.u16(10)?,
        crc: fixed.u32(16)? as u32,
        packed: fixed.u32(20)?,
        size: fixed.u32(24)?,
        offset: fixed.u32(42)?,
        mode,
    };
    large(&extra_bytes, &mut entry)?;
    Ok((entry, behind + name + extra + comment))
}

/// Sizes that do not fit into 32 bits are in an extra field.
fn large(extra: &Bytes, entry: &mut Entry) -> Result<(), FetchError> {
    let mut at = 0;
    while at + 4 <= extra.0.len() {
        let (tag, length) = (extra.u16(at)?, extra.u16(at + 2)? as usize);
        if tag == 1 {
            let mut field = at + 4;
            for value in [&mut entry.size, &mut entry.packed, &mut entry.offset] {
                if *value == 0xffff_ffff {
                    *value = extra.u64(field)?;
                    field += 8;
                }
            }
        }
        at += 4 + length;
    }
    Ok(())
}

/// What is in a file, and what it adds up to.
struct Content {
    inner: Box<dyn Read>,
    crc: crc32fast::Hasher,
    size: u64,
}

impl Content {
    fn check(self, entry: &Entry) -> Result<(), FetchError> {
        if self.size != entry.size || self.crc.finalize() != entry.crc {
            return Err(refused(&entry.name, "is damaged: its checksum is wrong"));
        }
        Ok(())
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.crc.update(buffer.get(..read).unwrap_or_default());
        self.size = self.size.saturating_add(read as u64);
        Ok(read)
    }
}

fn content(file: &File, entry: &Entry) -> Result<Content, FetchError> {
    let local = Bytes::read(file, entry.offset, 30)?;
    if local.u32(0)? != u64::from(LOCAL) {
        return Err(refused(&entry.name, "is not where the directory says"));
    }
    let start = entry.offset + 30 + local.u16(26)? + local.u16(28)?;
    let file =
        file.try_clone().map_err(|error| FetchError::system("reading the archive", error))?;
    let packed = BufReader::with_capacity(32 << 10, Part { file, at: start, left: entry.packed });
    let inner: Box<dyn Read> = match entry.method {
        0 => Box::new(packed),
        8 => Box::new(DeflateDecoder::new(packed)),
        method => {
            let words =
                format!("is packed with method {method}; stored and deflated files are unpacked");
            return Err(refused(&entry.name, &words));
        }
    };
    Ok(Content { inner, crc: crc32fast::Hasher::new(), size: 0 })
}

/// A part of a file.
struct Part {
    file: File,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
