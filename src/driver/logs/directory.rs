//! The directory of the logs, held open, and what may be opened in it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The highest number of a file. A task that plants a higher one is not believed.
const MAX_INDEX: u64 = 1_000_000_000_000_000;

/// The most files of one stream that are looked at, the newest.
const MAX_FILES: usize = 16 * 1024;

/// The most of the file of offsets that is read, in bytes, and how many it keeps.
const MAX_OFFSETS: u64 = 64 * 1024;
const KEPT_OFFSETS: usize = 1024;

/// What every file is opened with: no link is followed, and no pipe is waited for.
const SAFE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

const DIRECTORY: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

/// An open directory. Whoever renames or replaces it redirects nobody who holds it.
#[derive(Clone, Debug)]
pub(super) struct LogDir {
    /// Shared: a helper process stays with each task, and what it holds open counts.
    fd: Arc<OwnedFd>,
}

impl LogDir {
    /// Opens it. From the allocation's directory downwards, which is where tasks write, no link is followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let beneath = path.ends_with("alloc/logs").then(|| path.ancestors().nth(3)).flatten();
        let Some(base) = beneath.filter(|base| !base.as_os_str().is_empty()) else {
            let fd = openat(AT_FDCWD, path, DIRECTORY, Mode::empty())?;
            return Ok(Self { fd: Arc::new(fd) });
        };
        let follow = DIRECTORY.difference(OFlag::O_NOFOLLOW);
        let mut fd = openat(AT_FDCWD, base, follow, Mode::empty())?;
        for part in path.strip_prefix(base).unwrap_or(path) {
            fd = openat(&fd, part, DIRECTORY, Mode::empty())?;
        }
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Number and size of each file of a stream, oldest first.
    pub(super) fn files(&self, prefix: &str) -> io::Result<Vec<(u64, u64)>> {
        let mut found = BTreeMap::new();
        for entry in Dir::openat(&*self.fd, ".", DIRECTORY, Mode::empty())?.iter() {
            let entry = entry?;
            let Some(index) = number(entry.file_name(), prefix) else { continue };
            // The file may be rotated away between listing and asking.
            let Ok(stat) = fstatat(&*self.fd, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
            if kind == SFlag::S_IFREG && stat.st_nlink <= 1 {
                found.insert(index, u64::try_from(stat.st_size).unwrap_or(0));
                if found.len() > MAX_FILES {
                    found.pop_first();
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Opens a file to read it.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        regular(openat(&*self.fd, name, SAFE | OFlag::O_RDONLY, Mode::empty())?)
    }

    /// Opens a file to append to it, or makes it.
    pub(super) fn append(&self, name: &str) -> io::Result<File> {
        let flags = SAFE | OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
        regular(openat(&*self.fd, name, flags, Mode::from_bits_truncate(0o644))?)
    }

    /// Makes a file that was not there.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = SAFE | OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(File::from(openat(&*self.fd, name, flags, Mode::from_bits_truncate(0o644))?))
    }

    /// Removes a name. What it led to stays.
    pub(super) fn remove(&self, name: &str) {
        let _ = unlinkat(&*self.fd, name, UnlinkatFlags::NoRemoveDir);
    }

    /// Where files of a stream begin, counted in bytes since its very first one. Empty when nobody has written it down;
    /// a hint, since a task may have written it.
    pub(super) fn offsets(&self, prefix: &str) -> BTreeMap<u64, u64> {
        let mut text = String::new();
        let read = self
            .read(&format!(".{prefix}offsets"))
            .and_then(|file| file.take(MAX_OFFSETS).read_to_string(&mut text));
        if read.is_err() {
            return BTreeMap::new();
        }
        let entry = |line: &str| {
            let (index, offset) = line.split_once(' ')?;
            Some((index.parse().ok()?, offset.parse().ok()?))
        };
        text.lines().filter_map(entry).collect()
    }

    /// Writes down where files begin: all of it or nothing.
    pub(super) fn store_offsets(
        &self,
        prefix: &str,
        offsets: &BTreeMap<u64, u64>,
    ) -> io::Result<()> {
        let skipped = offsets.len().saturating_sub(KEPT_OFFSETS);
        let lines = offsets.iter().skip(skipped).map(|(index, at)| format!("{index} {at}\n"));
        let text: String = lines.collect();
        let (name, temporary) = (format!(".{prefix}offsets"), format!(".{prefix}offsets.new"));
        self.remove(&temporary);
        let written = self
            .create(&temporary)?
            .write_all(text.as_bytes())
            .and_then(|()| Ok(renameat(&*self.fd, temporary.as_str(), &*self.fd, name.as_str())?));
        if written.is_err() {
            self.remove(&temporary);
        }
        written
    }
}

/// Whether what stands in a file's place is none that a log could be in: a link, a pipe, a second name of another file.
pub(super) fn is_foreign(error: &io::Error) -> bool {
    let foreign = [Errno::ELOOP, Errno::ENXIO, Errno::EISDIR, Errno::EMLINK];
    error.raw_os_error().is_some_and(|code| foreign.contains(&Errno::from_raw(code)))
}

fn regular(fd: OwnedFd) -> io::Result<File> {
    let file = File::from(fd);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Errno::ENXIO.into());
    }
    if meta.nlink() > 1 {
        return Err(Errno::EMLINK.into());
    }
    Ok(file)
}

/// The number in a file's name. `+1` and `01` parse as numbers too and are not ours.
fn number(name: &CStr, prefix: &str) -> Option<u64> {
    let digits = name.to_str().ok()?.strip_prefix(prefix)?;
    let index: u64 = digits.parse().ok()?;
    (index <= MAX_INDEX && index.to_string() == digits).then_some(index)
}
