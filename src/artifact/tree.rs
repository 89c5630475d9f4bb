//! Writes what an archive or a repository holds, and nothing outside of one folder, whatever names it has.
//!
//! Every name is walked part by part from the folder's descriptor, following nothing. Links are kept in memory and made
//! at the end, when nothing is written any more, and only those whose target stays inside.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::FetchError;
use crate::failure::shown;

/// Folders within folders.
pub(crate) const MAX_DEPTH: usize = 64;
/// The longest name with its folders, in bytes.
const MAX_NAME: usize = 4096;
/// The longest part of a name, in bytes.
const MAX_PART: usize = 255;
/// The most entries, where the configuration sets no limit.
pub(crate) const MAX_ENTRIES: u64 = 1_000_000;
/// The most bytes, where the configuration sets no limit.
const MAX_BYTES: u64 = 1 << 50;
/// How many times its own size an archive may grow to; less than [`FREE_GROWTH`] is nothing to worry about.
const MAX_RATIO: u64 = 200;
const FREE_GROWTH: u64 = 64 << 20;
/// Links that are followed in looking where one leads.
const MAX_HOPS: usize = 40;

const OPEN: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

type Steps = Vec<Vec<u8>>;

/// How much may be written. Zero stands for the largest there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// The size of the archive, where there is one.
    pub(crate) archive: Option<u64>,
}

impl Bounds {
    pub(crate) const fn max_bytes(&self) -> u64 {
        if self.bytes == 0 { MAX_BYTES } else { self.bytes }
    }

    const fn max_entries(&self) -> u64 {
        if self.entries == 0 { MAX_ENTRIES } else { self.entries }
    }

    /// Whether so many bytes may have come out of the archive.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), FetchError> {
        let limit = self.max_bytes();
        if bytes > limit {
            return Err(FetchError::refused(format!(
                "unpacked, it is larger than {limit} bytes (decompression_size_limit)"
            )));
        }
        match self.archive {
            Some(size) if bytes > FREE_GROWTH && bytes / size.max(1) > MAX_RATIO => {
                Err(FetchError::refused(format!(
                    "it unpacks to more than {MAX_RATIO} times its own size of {size} bytes: that is a bomb and no archive"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// A folder that is being filled.
pub(crate) struct Tree {
    root: OwnedFd,
    bounds: Bounds,
    /// Only what is in this folder of the archive is written.
    within: Steps,
    entries: u64,
    bytes: u64,
    files: u64,
    links: BTreeMap<Steps, Vec<u8>>,
}

impl Tree {
    /// Fills the folder `root`, which is empty.
    pub(crate) fn new(
        root: OwnedFd,
        bounds: Bounds,
        within: Option<&str>,
    ) -> Result<Self, FetchError> {
        let within = steps(within.unwrap_or_default().as_bytes())?;
        Ok(Self { root, bounds, within, entries: 0, bytes: 0, files: 0, links: BTreeMap::new() })
    }

    /// Entries and bytes so far.
    pub(crate) const fn size(&self) -> (u64, u64) {
        (self.entries, self.bytes)
    }

    /// A folder. `mode` may be anything; only the permissions count.
    pub(crate) fn folder(&mut self, name: &[u8], mode: u32) -> Result<(), FetchError> {
        let Some(steps) = self.enter(name, false)? else { return Ok(()) };
        let folder = self.walk(&steps, name)?;
        // Ours to write in while it is being filled; the agent has the last word.
        chmod(&folder, (mode & 0o777) | 0o700, name)
    }

    /// A file with what `content` gives.
    pub(crate) fn file(
        &mut self,
        name: &[u8],
        mode: u32,
        content: &mut dyn Read,
    ) -> Result<(), FetchError> {
        let Some(mut steps) = self.enter(name, true)? else { return Ok(()) };
        let Some(last) = steps.pop() else {
            return Err(refused(name, "has no name"));
        };
        let parent = self.walk(&steps, name)?;
        let last = OsStr::from_bytes(&last);
        match unlinkat(&parent, last, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR | Errno::EPERM) => {
                return Err(refused(name, "is there twice, as a file and as a folder"));
            }
            Err(errno) => return Err(system(name, errno)),
        }
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&parent, last, flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| system(name, errno))?;
        let mut file = File::from(file);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(|error| unreadable(name, &error))?;
            if read == 0 {
                break;
            }
            self.bytes = self.bytes.saturating_add(read as u64);
            self.bounds.check(self.bytes).map_err(|error| at(name, error))?;
            file.write_all(buffer.get(..read).unwrap_or_default()).map_err(|error| {
                FetchError::system(&format!("writing `{}`", shown(name)), error)
            })?;
        }
        self.files += 1;
        chmod(&file, (mode & 0o777) | 0o400, name)
    }

    /// A symbolic link; made at the end.
    pub(crate) fn link(&mut self, name: &[u8], target: &[u8]) -> Result<(), FetchError> {
        let Some(steps) = self.enter(name, true)? else { return Ok(()) };
        if target.is_empty() || target.len() > MAX_NAME || target.contains(&0) {
            return Err(refused(name, "is a link without a usable target"));
        }
        if target.starts_with(b"/") {
            return Err(refused(
                name,
                "is a link to an absolute path, which leads out of the destination",
            ));
        }
        self.links.insert(steps, target.to_vec());
        Ok(())
    }

    /// Another name for a file that was written already.
    pub(crate) fn hard_link(&mut self, name: &[u8], target: &[u8]) -> Result<(), FetchError> {
        let outside =
            || refused(name, "is a hard link to something that is not in the archive before it");
        let original = steps(target).map_err(|_| outside())?;
        let Some(mut steps) = self.enter(name, true)? else { return Ok(()) };
        let mut original = self.inner(&original, true).ok_or_else(outside)?;
        let (Some(last), Some(old)) = (steps.pop(), original.pop()) else { return Err(outside()) };
        let parent = self.walk(&steps, name)?;
        let from = self.look(&original).ok_or_else(outside)?;
        let (last, old) = (OsStr::from_bytes(&last), OsStr::from_bytes(&old));
        let is_file = fstatat(&from, old, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
        });
        if !is_file {
            return Err(outside());
        }
        match unlinkat(&parent, last, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(system(name, errno)),
        }
        linkat(&from, old, &parent, last, AtFlags::empty()).map_err(|_| outside())?;
        self.files += 1;
        Ok(())
    }

    /// Makes the links. Nothing is written after this.
    pub(crate) fn finish(&mut self) -> Result<(), FetchError> {
        for (steps, target) in &self.links {
            let name = steps.join(&b'/');
            if !stays_inside(&self.links, steps, target) {
                let words =
                    format!("is a link to `{}`, which leads out of the destination", shown(target));
                return Err(refused(&name, &words));
            }
        }
        let links = std::mem::take(&mut self.links);
        for (mut steps, target) in links {
            let name = steps.join(&b'/');
            let Some(last) = steps.pop() else { continue };
            let parent = self.walk(&steps, &name)?;
            symlinkat(OsStr::from_bytes(&target), &parent, OsStr::from_bytes(&last)).map_err(
                |errno| match errno {
                    Errno::EEXIST => {
                        refused(&name, "is there twice, as a link and as something else")
                    }
                    errno => system(&name, errno),
                },
            )?;
            self.files += 1;
        }
        if !self.within.is_empty() && self.files == 0 {
            let within = self.within.join(&b'/');
            return Err(FetchError::refused(format!(
                "there is nothing in it at `{}`",
                shown(&within)
            )));
        }
        Ok(())
    }

    /// Counts an entry and says where it goes; `None` for what was not asked for.
    fn enter(&mut self, name: &[u8], is_file: bool) -> Result<Option<Steps>, FetchError> {
        self.count(name)?;
        let all = steps(name)?;
        let Some(inner) = self.inner(&all, is_file) else { return Ok(None) };
        // Never through a link, not even one that is not made yet.
        let through = (1..=inner.len())
            .filter_map(|end| inner.get(..end))
            .find(|part| self.links.contains_key(*part));
        if let Some(link) = through {
            let words = format!("goes through the link `{}`", shown(&link.join(&b'/')));
            return Err(refused(name, &words));
        }
        Ok(Some(inner))
    }

    fn count(&mut self, name: &[u8]) -> Result<(), FetchError> {
        self.entries += 1;
        let limit = self.bounds.max_entries();
        if self.entries > limit {
            return Err(refused(
                name,
                &format!(
                    "is one too many: at most {limit} files are unpacked (decompression_file_count_limit)"
                ),
            ));
        }
        Ok(())
    }

    /// A name within the folder that was asked for.
    fn inner(&self, all: &[Vec<u8>], is_file: bool) -> Option<Steps> {
        let rest = all.strip_prefix(self.within.as_slice())?;
        match (rest.is_empty(), is_file) {
            // The file itself was asked for.
            (true, true) => Some(vec![all.last()?.clone()]),
            _ => Some(rest.to_vec()),
        }
    }

    /// Opens a folder, making what is missing.
    fn walk(&mut self, steps: &[Vec<u8>], name: &[u8]) -> Result<OwnedFd, FetchError> {
        let mut at =
            self.root.try_clone().map_err(|error| FetchError::system("unpacking", error))?;
        for part in steps {
            let part = OsStr::from_bytes(part);
            at = match openat(&at, part, OPEN, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::ENOENT) => {
                    self.count(name)?;
                    mkdirat(&at, part, Mode::from_bits_truncate(0o755))
                        .map_err(|errno| system(name, errno))?;
                    openat(&at, part, OPEN, Mode::empty()).map_err(|errno| system(name, errno))?
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    return Err(refused(name, "lies in something that is no folder"));
                }
                Err(errno) => return Err(system(name, errno)),
            };
        }
        Ok(at)
    }

    /// Opens a folder that is there.
    fn look(&self, steps: &[Vec<u8>]) -> Option<OwnedFd> {
        let start = self.root.try_clone().ok()?;
        steps.iter().try_fold(start, |at, part| {
            openat(&at, OsStr::from_bytes(part), OPEN, Mode::empty()).ok()
        })
    }
}

/// The parts of a name.
fn steps(name: &[u8]) -> Result<Steps, FetchError> {
    if name.len() > MAX_NAME {
        return Err(refused(name, &format!("has a name longer than {MAX_NAME} bytes")));
    }
    if name.starts_with(b"/") {
        return Err(refused(name, "has an absolute name"));
    }
    let mut parts = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refused(name, "has `..` in its name")),
            part if part.contains(&0) => return Err(refused(name, "has a zero byte in its name")),
            part if part.len() > MAX_PART => {
                return Err(refused(name, &format!("has a name longer than {MAX_PART} bytes")));
            }
            part => parts.push(part.to_vec()),
        }
        if parts.len() > MAX_DEPTH {
            return Err(refused(name, &format!("lies more than {MAX_DEPTH} folders deep")));
        }
    }
    Ok(parts)
}

/// Whether a link leads to a place inside, through other links as far as there are any.
fn stays_inside(links: &BTreeMap<Steps, Vec<u8>>, link: &[Vec<u8>], target: &[u8]) -> bool {
    let mut at: Steps = link.split_last().map(|(_, folder)| folder.to_vec()).unwrap_or_default();
    let parts =
        |target: &[u8]| target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut todo: Vec<Vec<u8>> = parts(target);
    let mut hops = 0;
    while let Some(part) = todo.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                if at.pop().is_none() {
                    return false;
                }
                continue;
            }
            _ => at.push(part),
        }
        if let Some(target) = links.get(&at) {
            hops += 1;
            if hops > MAX_HOPS || todo.len() > MAX_NAME {
                return false;
            }
            at.pop();
            todo.extend(parts(target));
        }
    }
    true
}

fn chmod(file: &impl AsFd, mode: u32, name: &[u8]) -> Result<(), FetchError> {
    fchmod(file.as_fd(), Mode::from_bits_truncate(mode)).map_err(|errno| system(name, errno))
}

/// An entry that is not taken.
pub(crate) fn refused(name: &[u8], words: &str) -> FetchError {
    FetchError::refused(format!("the entry `{}` {words}", shown(name)))
}

fn at(name: &[u8], error: FetchError) -> FetchError {
    FetchError { message: format!("the entry `{}`: {}", shown(name), error.message), ..error }
}

/// What a reader said of an entry. A refusal that came through it keeps its words.
fn unreadable(name: &[u8], error: &std::io::Error) -> FetchError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FetchError>()) {
        Some(inner) => at(name, inner.clone()),
        None => refused(name, &format!("cannot be read: {error}")),
    }
}

fn system(name: &[u8], errno: Errno) -> FetchError {
    FetchError::system(&format!("unpacking `{}`", shown(name)), errno.desc())
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
