//! Moves a tree into another, and removes one. What the child left is looked at as if an attacker had made it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode as Permissions, SFlag, fchmod, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat};

use super::{OPEN, Owner, enter, unlink};
use crate::FetchError;
use crate::failure::shown;
use crate::tree::{MAX_DEPTH, MAX_ENTRIES};

/// Name for a file that is being copied to another file system.
const COPYING: &str = ".herder-artifact";

pub(super) struct Mover {
    pub(super) owner: Owner,
    pub(super) child: Owner,
    pub(super) moved: u64,
}

impl Mover {
    /// Moves all of `from` into `into`, whose path is `path`.
    pub(super) fn merge(
        &mut self,
        from: &OwnedFd,
        into: &OwnedFd,
        path: &Path,
        reserved: &[&str],
        depth: usize,
    ) -> Result<(), FetchError> {
        if depth > MAX_DEPTH + 1 {
            return Err(FetchError::refused("what was downloaded lies too deep"));
        }
        for name in names(from)? {
            self.moved += 1;
            if self.moved > MAX_ENTRIES.saturating_mul(2) {
                return Err(FetchError::refused("too much was downloaded"));
            }
            let path = path.join(&name);
            if reserved.iter().any(|reserved| name == *reserved) {
                return Err(FetchError::refused(format!(
                    "the download holds `{}`, and that place is the agent's own; choose a destination below",
                    shown(name.as_bytes())
                )));
            }
            let failed = |errno: Errno| match errno {
                Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST => FetchError::refused(format!(
                    "{} is a folder in the destination and a file in the download; move it away",
                    path.display()
                )),
                errno => FetchError::system(&format!("writing {}", path.display()), errno.desc()),
            };
            let stat =
                fstatat(from, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            // What is not the child's was not made by it: another name for somebody's file.
            if stat.st_uid != self.child.uid {
                return Err(FetchError::refused(format!(
                    "{} belongs to somebody else",
                    path.display()
                )));
            }
            if kind == SFlag::S_IFDIR {
                let inner =
                    openat(from, name.as_os_str(), OPEN, Permissions::empty()).map_err(failed)?;
                let target = enter_as(into, &name, &path, self.owner)?;
                self.merge(&inner, &target, &path, &[], depth + 1)?;
                mode(&target, &stat).map_err(failed)?;
                unlink(from, &name, UnlinkatFlags::RemoveDir).map_err(failed)?;
            } else if kind == SFlag::S_IFREG || kind == SFlag::S_IFLNK {
                self.give(from, &name, &stat, kind).map_err(failed)?;
                match renameat(from, name.as_os_str(), into, name.as_os_str()) {
                    // `secrets` may be memory.
                    Err(Errno::EXDEV) => {
                        let copied = self.copy(from, into, &name, &stat, kind);
                        if copied.is_err() {
                            // Half a file, in memory perhaps; nobody asked for it.
                            let _ = unlink(into, OsStr::new(COPYING), UnlinkatFlags::NoRemoveDir);
                        }
                        copied.map_err(failed)?;
                    }
                    other => other.map_err(failed)?,
                }
            } else {
                return Err(FetchError::refused(format!(
                    "{} is neither a file nor a folder nor a link",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Owner first, since that takes special bits away; then what is left of the permissions.
    fn give(&self, at: &OwnedFd, name: &OsStr, stat: &FileStat, kind: SFlag) -> Result<(), Errno> {
        if self.owner != self.child {
            let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
            fchownat(at, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        if kind == SFlag::S_IFREG {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
            let file = openat(at, name, flags, Permissions::empty())?;
            mode(&file, stat)?;
        }
        Ok(())
    }

    fn copy(
        &self,
        from: &OwnedFd,
        into: &OwnedFd,
        name: &OsStr,
        stat: &FileStat,
        kind: SFlag,
    ) -> Result<(), Errno> {
        unlink(into, OsStr::new(COPYING), UnlinkatFlags::NoRemoveDir)?;
        if kind == SFlag::S_IFLNK {
            let target = nix::fcntl::readlinkat(from, name)?;
            nix::unistd::symlinkat(target.as_os_str(), into, COPYING)?;
        } else {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut source = File::from(openat(from, name, flags, Permissions::empty())?);
            let flags = OFlag::O_WRONLY
                | OFlag::O_CREAT
                | OFlag::O_EXCL
                | OFlag::O_NOFOLLOW
                | OFlag::O_CLOEXEC;
            let mut copy = File::from(openat(into, COPYING, flags, Permissions::S_IRUSR)?);
            std::io::copy(&mut source, &mut copy)
                .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        }
        if self.owner != Owner::agent() {
            let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
            fchownat(into, COPYING, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        if kind == SFlag::S_IFREG {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            mode(&openat(into, COPYING, flags, Permissions::empty())?, stat)?;
        }
        renameat(into, COPYING, into, name)
    }
}

fn enter_as(
    into: &OwnedFd,
    name: &OsStr,
    path: &Path,
    owner: Owner,
) -> Result<OwnedFd, FetchError> {
    match name.to_str() {
        Some(name) => enter(into, name, path, owner),
        None => {
            Err(FetchError::refused(format!("{} has a name that is not UTF-8", path.display())))
        }
    }
}

/// The permissions, and none of the special bits.
fn mode(file: &OwnedFd, stat: &FileStat) -> Result<(), Errno> {
    fchmod(file.as_fd(), Permissions::from_bits_truncate(stat.st_mode & 0o777))
}

fn names(folder: &OwnedFd) -> Result<Vec<OsString>, FetchError> {
    let failed = |errno: Errno| FetchError::system("listing what was downloaded", errno.desc());
    let mut dir = Dir::openat(folder, ".", OPEN, Permissions::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
        if names.len() as u64 > MAX_ENTRIES {
            return Err(FetchError::refused("too much was downloaded"));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a folder with all there is in it, however deep: each folder that is found is moved up first.
pub(super) fn remove(parent: &OwnedFd, name: &str) -> Result<(), FetchError> {
    let failed =
        |errno: Errno| FetchError::system("removing what an earlier download left", errno.desc());
    let open = |at: &OwnedFd, name: &OsStr| openat(at, name, OPEN, Permissions::empty());
    let root = match open(parent, OsStr::new(name)) {
        Ok(root) => root,
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return unlink(parent, OsStr::new(name), UnlinkatFlags::NoRemoveDir).map_err(failed);
        }
        Err(errno) => return Err(failed(errno)),
    };
    let mut counter: u64 = 0;
    loop {
        let found = names(&root)?;
        if found.is_empty() {
            break;
        }
        for child in found {
            match unlink(&root, &child, UnlinkatFlags::NoRemoveDir) {
                Ok(()) => continue,
                Err(Errno::EISDIR | Errno::EPERM) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let inner = open(&root, &child).map_err(failed)?;
            fchmod(inner.as_fd(), Permissions::S_IRWXU).map_err(failed)?;
            for grandchild in names(&inner)? {
                match unlink(&inner, &grandchild, UnlinkatFlags::NoRemoveDir) {
                    Ok(()) => continue,
                    Err(Errno::EISDIR | Errno::EPERM) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                counter += 1;
                let up = format!(".removed-{counter}");
                match renameat(&inner, grandchild.as_os_str(), &root, up.as_str()) {
                    // Taken by what an earlier attempt moved; the next number is free.
                    Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                    other => other.map_err(failed)?,
                }
            }
            match unlink(&root, &child, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
    unlink(parent, OsStr::new(name), UnlinkatFlags::RemoveDir).map_err(failed)
}
