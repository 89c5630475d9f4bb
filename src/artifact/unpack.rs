//! Archives: which kind a file is, and what is read out of it into a [`Tree`].

mod entries;
mod zip;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::FetchError;
use crate::tree::{Bounds, Tree};

/// The most memory that unpacking xz or zstd may ask for, in KiB.
const MAX_WINDOW_KIB: u32 = 256 << 10;
/// What a tar archive may hold beside its files' bytes.
const TAR_OVERHEAD: u64 = 64 << 20;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Many files, or one.
    pub(crate) holds: Holds,
    pub(crate) codec: Codec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Tar,
    Zip,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// Endings, the longer before the shorter.
const ENDINGS: &[(&str, Holds, Codec)] = &[
    ("tar.gz", Holds::Tar, Codec::Gzip),
    ("tgz", Holds::Tar, Codec::Gzip),
    ("tar.bz2", Holds::Tar, Codec::Bzip2),
    ("tbz2", Holds::Tar, Codec::Bzip2),
    ("tar.xz", Holds::Tar, Codec::Xz),
    ("txz", Holds::Tar, Codec::Xz),
    ("tar.zst", Holds::Tar, Codec::Zstd),
    ("tzst", Holds::Tar, Codec::Zstd),
    ("tar", Holds::Tar, Codec::Plain),
    ("zip", Holds::Zip, Codec::Plain),
    ("gz", Holds::File, Codec::Gzip),
    ("bz2", Holds::File, Codec::Bzip2),
    ("xz", Holds::File, Codec::Xz),
    ("zst", Holds::File, Codec::Zstd),
];

/// What a file's name or the `archive` option says; with it the name without the ending.
pub(crate) fn packing(
    file: &str,
    archive: Option<&str>,
) -> Result<Option<(Packing, String)>, FetchError> {
    let of = |holds, codec| Packing { holds, codec };
    if let Some(word) = archive {
        if matches!(word, "false" | "0" | "f" | "F" | "False" | "FALSE") {
            return Ok(None);
        }
        if let Some((_, holds, codec)) = ENDINGS.iter().find(|(ending, ..)| *ending == word) {
            return Ok(Some((of(*holds, *codec), file.to_owned())));
        }
        if !matches!(word, "true" | "1") {
            let known: Vec<_> = ENDINGS.iter().map(|(ending, ..)| *ending).collect();
            return Err(FetchError::refused(format!(
                "`archive` is {word:?}: false, or one of {}",
                known.join(", ")
            )));
        }
    }
    let lower = file.to_ascii_lowercase();
    Ok(ENDINGS.iter().find_map(|(ending, holds, codec)| {
        let stem = lower.strip_suffix(ending)?.strip_suffix('.')?;
        Some((of(*holds, *codec), file.get(..stem.len())?.to_owned()))
    }))
}

/// Unpacks a file into the tree; `name` is what a single packed file is called.
pub(crate) fn unpack(
    packed: File,
    packing: Packing,
    bounds: Bounds,
    name: &str,
    tree: &mut Tree,
) -> Result<(), FetchError> {
    if packing.holds == Holds::Zip {
        return zip::read(&packed, bounds, tree);
    }
    let input = BufReader::with_capacity(64 << 10, packed);
    let decoder: Box<dyn Read> = match packing.codec {
        Codec::Plain => Box::new(input),
        Codec::Gzip => Box::new(MultiGzDecoder::new(input)),
        Codec::Bzip2 => Box::new(MultiBzDecoder::new(input)),
        Codec::Xz => Box::new(XzReader::new_mem_limit(input, true, MAX_WINDOW_KIB)),
        Codec::Zstd => Box::new(Frames { current: Frame::Between(input) }),
    };
    match packing.holds {
        Holds::File => {
            let mut decoder = decoder;
            tree.file(name.as_bytes(), 0o644, &mut decoder)
        }
        // What lies between the files counts too: a bomb may be all names.
        Holds::Tar | Holds::Zip => {
            let allowed =
                Bounds { bytes: bounds.max_bytes().saturating_add(TAR_OVERHEAD), ..bounds };
            entries::read(Metered { inner: decoder, read: 0, allowed }, tree)
        }
    }
}

/// Ends a stream that grows beyond what is allowed.
struct Metered<R> {
    inner: R,
    read: u64,
    allowed: Bounds,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read = self.read.saturating_add(read as u64);
        self.allowed.check(self.read).map_err(io::Error::other)?;
        Ok(read)
    }
}

/// All frames of a zstd file, one after the other.
struct Frames<R: BufRead> {
    current: Frame<R>,
}

enum Frame<R: BufRead> {
    Between(R),
    Within(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.current, Frame::Ended) {
                Frame::Ended => return Ok(0),
                Frame::Between(mut input) => {
                    if input.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let window = u64::from(MAX_WINDOW_KIB) << 10;
                    let decoder = StreamingDecoder::new_with_max_window_size(input, window)
                        .map_err(io::Error::other)?;
                    self.current = Frame::Within(Box::new(decoder));
                }
                Frame::Within(mut decoder) => {
                    let read = decoder.read(buffer)?;
                    if read > 0 || buffer.is_empty() {
                        self.current = Frame::Within(decoder);
                        return Ok(read);
                    }
                    self.current = Frame::Between(decoder.into_inner());
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "unpack/tests.rs"]
mod tests;
