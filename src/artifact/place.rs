//! Where downloads are staged and where they go: within one allocation's folder, by descriptors, following nothing that a
//! task may have put there.
//!
//! ```text
//! <allocation>/.artifacts/         closed to everybody but the agent
//!                         <task>/  the child's own; `tree` in it is what it brought
//! <allocation>/<task>/<destination>       moved here by the agent, entry by entry
//! <allocation>/alloc/<destination>        or here
//! ```

mod moving;

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode as Permissions, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, geteuid, unlinkat};

use crate::failure::shown;
use crate::{FetchError, Mode};

/// Where staging folders are, in the allocation's folder. No task has such a name.
const STAGING: &str = ".artifacts";
/// What the child fills in its own.
pub(crate) const TREE: &str = "tree";
const PRIVATE: &str = "private";
const SHARED: &str = "alloc";
const LOGS: &str = "logs";
/// Folders of a destination.
const MAX_STEPS: usize = 64;

const OPEN: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

/// Who owns what was downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
}

impl Owner {
    /// The agent itself.
    pub(crate) fn agent() -> Self {
        Self { uid: geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }

    /// Who the child is: nobody, or the agent when it cannot become another.
    pub(crate) fn child() -> Self {
        if !geteuid().is_root() {
            return Self::agent();
        }
        let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
        nobody.map_or(Self { uid: 65_534, gid: 65_534 }, |user| Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }
}

/// A folder of the allocation, and the name in it for a single file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// From the allocation's folder: `web/local/x`, `alloc/x`.
    steps: Vec<String>,
    /// With `mode = "file"`.
    pub(crate) name: Option<String>,
}

impl Destination {
    /// Reads a destination from the task's folder. `../alloc` is the allocation's shared folder; nothing else of the
    /// allocation can be reached.
    pub(crate) fn parse(task: &str, text: &str, mode: Mode) -> Result<Self, FetchError> {
        let refused = |words: &str| {
            FetchError::refused(format!("the destination `{}` {words}", shown(text.as_bytes())))
        };
        if text.len() > 4096 || text.chars().any(char::is_control) {
            return Err(refused("is too long or holds control characters"));
        }
        let mut steps = vec![task.to_owned()];
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if steps.pop().is_none() {
                        return Err(refused("leaves the allocation's folder"));
                    }
                }
                part if part.len() > 255 => {
                    return Err(refused("has a name longer than 255 bytes"));
                }
                part => steps.push(part.to_owned()),
            }
        }
        let name = if mode == Mode::File && steps.len() > 1 { steps.pop() } else { None };
        if mode == Mode::File && name.is_none() {
            return Err(refused("is a folder; with mode = \"file\" it is the file itself"));
        }
        let words: Vec<_> = steps.iter().map(String::as_str).collect();
        match words.as_slice() {
            _ if words.len() > MAX_STEPS => Err(refused("is too deep")),
            [SHARED, LOGS, ..] => Err(refused("is where logs are kept; choose another folder")),
            [own, PRIVATE, ..] if *own == task => {
                Err(refused("is the agent's own; choose another folder"))
            }
            [SHARED, ..] => Ok(Self { steps, name }),
            [own, ..] if *own == task => Ok(Self { steps, name }),
            _ => Err(refused("is neither in the task's folder nor in ../alloc")),
        }
    }

    /// Names that must not be written directly in it.
    fn reserved(&self) -> &'static [&'static str] {
        match self.steps.as_slice() {
            [only] if only == SHARED => &[LOGS],
            [_] => &[PRIVATE],
            _ => &[],
        }
    }
}

/// Makes an empty staging folder and returns its path; what an earlier attempt left is removed. Blocks on the disk.
pub(crate) fn stage(root: &Path, task: &str, child: Owner) -> Result<PathBuf, FetchError> {
    let outer = open_outer(root)?;
    moving::remove(&outer, task)?;
    let failed = |errno: Errno| FetchError::system("making the staging folder", errno.desc());
    mkdirat(&outer, task, Permissions::S_IRWXU).map_err(failed)?;
    let made = openat(&outer, task, OPEN, Permissions::empty()).map_err(failed)?;
    fchmod(made.as_fd(), Permissions::S_IRWXU).map_err(failed)?;
    chown(&made, ".", child).map_err(failed)?;
    Ok(root.join(STAGING).join(task))
}

/// Removes the staging folder. Blocks on the disk.
pub(crate) fn unstage(root: &Path, task: &str) -> Result<(), FetchError> {
    moving::remove(&open_outer(root)?, task)
}

/// Moves what was staged to its destination; what is there under the same names is replaced. Blocks on the disk.
pub(crate) fn install(
    root: &Path,
    task: &str,
    destination: &Destination,
    owner: Owner,
    child: Owner,
) -> Result<(), FetchError> {
    let mut into = open(root)?;
    let mut path = PathBuf::new();
    for step in &destination.steps {
        path.push(step);
        into = enter(&into, step, &path, owner)?;
    }
    let outer = open_outer(root)?;
    let failed = |errno: Errno| FetchError::system("opening what was staged", errno.desc());
    let staging = openat(&outer, task, OPEN, Permissions::empty()).map_err(failed)?;
    let tree = openat(&staging, TREE, OPEN, Permissions::empty()).map_err(failed)?;
    let mut mover = moving::Mover { owner, child, moved: 0 };
    mover.merge(&tree, &into, &path, destination.reserved(), 0)
}

/// A folder of a destination, made when it is missing.
fn enter(at: &OwnedFd, step: &str, path: &Path, owner: Owner) -> Result<OwnedFd, FetchError> {
    let failed = |doing: &str, errno: Errno| match errno {
        Errno::ENOTDIR | Errno::ELOOP => FetchError::refused(format!(
            "{} in the destination is no folder (a link is not followed); move it away",
            path.display()
        )),
        errno => FetchError::system(&format!("{doing} {}", path.display()), errno.desc()),
    };
    match openat(at, step, OPEN, Permissions::empty()) {
        Err(Errno::ENOENT) => {}
        found => return found.map_err(|errno| failed("opening", errno)),
    }
    mkdirat(at, step, Permissions::from_bits_truncate(0o755))
        .map_err(|errno| failed("making", errno))?;
    let made =
        openat(at, step, OPEN, Permissions::empty()).map_err(|errno| failed("opening", errno))?;
    fchmod(made.as_fd(), Permissions::from_bits_truncate(0o755))
        .map_err(|errno| failed("opening", errno))?;
    chown(&made, ".", owner).map_err(|errno| failed("giving away", errno))?;
    Ok(made)
}

fn open(root: &Path) -> Result<OwnedFd, FetchError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let file = File::options().read(true).custom_flags(flags).open(root);
    file.map(OwnedFd::from)
        .map_err(|error| FetchError::system("opening the allocation's folder", error))
}

/// The folder of staging folders, made when it is missing. It stays as long as the allocation's folder does.
fn open_outer(root: &Path) -> Result<OwnedFd, FetchError> {
    let root = open(root)?;
    let failed = |errno: Errno| FetchError::system("making the staging folder", errno.desc());
    match mkdirat(&root, STAGING, Permissions::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    openat(&root, STAGING, OPEN, Permissions::empty()).map_err(failed)
}

fn chown(at: &OwnedFd, name: &str, owner: Owner) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    if owner == Owner::agent() && !geteuid().is_root() {
        return Ok(());
    }
    fchownat(at, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn unlink(at: &OwnedFd, name: &std::ffi::OsStr, flag: UnlinkatFlags) -> Result<(), Errno> {
    match unlinkat(at, name, flag) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "place/tests.rs"]
mod tests;
