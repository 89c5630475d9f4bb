//! Opens and makes what mounts go on, beneath a root that belongs to a task: through no link, whatever the task put there.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// What a mount goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Directory,
    File,
}

const BENEATH: ResolveFlag = ResolveFlag::RESOLVE_BENEATH
    .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// Opens what is there.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(BENEATH);
    openat2(root, &relative(path)?, how).map_err(|errno| refused(path, errno))
}

/// Opens what is there by way of links, which lead to nowhere but the root's inside.
pub(super) fn open_through_links(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(inside);
    openat2(root, path, how).map_err(|errno| refused(path, errno))
}

/// Opens a place for a mount and makes what is missing of the way there. What is there has to have the right shape.
pub(super) fn make(root: BorrowedFd<'_>, path: &Path, shape: Shape) -> io::Result<OwnedFd> {
    let wanted = relative(path)?;
    let mut parts: Vec<&OsStr> = wanted.iter().collect();
    let last =
        parts.pop().ok_or_else(|| io::Error::other("the root itself is no place for a mount"))?;
    let mut at = root.try_clone_to_owned()?;
    for part in parts {
        at = directory(at.as_fd(), part).map_err(|errno| refused(path, errno))?;
    }
    match shape {
        Shape::Directory => {
            directory(at.as_fd(), last).map_err(|errno| refused(path, errno))?;
        }
        Shape::File => {
            let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
            let mode = Mode::from_bits_truncate(0o644);
            openat(&at, last, flags | OFlag::O_RDONLY, mode)
                .map_err(|errno| refused(path, errno))?;
        }
    }
    open(root, path)
}

fn directory(at: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    match mkdirat(at, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// A path from the root on; `..` is refused, for a target has no need of it.
pub(super) fn relative(path: &Path) -> io::Result<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let problem = format!("`{}` leads up; write the path without `..`", path.display());
                return Err(io::Error::other(problem));
            }
        }
    }
    Ok(parts)
}

fn refused(path: &Path, errno: Errno) -> io::Error {
    let why = match errno {
        Errno::ELOOP => "goes through a symlink, which is not followed".to_owned(),
        Errno::ENOTDIR => "is not a directory (a symlink is not followed)".to_owned(),
        Errno::EISDIR => "is a directory where a file is needed".to_owned(),
        other => other.desc().to_owned(),
    };
    io::Error::new(io::Error::from(errno).kind(), format!("`{}` {why}", path.display()))
}

/// A name for an open file that system calls that take names understand.
pub(super) fn name_of(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("a directory");
        let fd = fs::File::open(dir.path()).expect("opens").into();
        (dir, fd)
    }

    #[test]
    fn places_are_made_and_taken() {
        let (dir, fd) = root();
        make(fd.as_fd(), Path::new("/a/b"), Shape::Directory).expect("made");
        make(fd.as_fd(), Path::new("a/b/c"), Shape::File).expect("made");
        make(fd.as_fd(), Path::new("a/./b/c"), Shape::File).expect("taken");
        assert!(dir.path().join("a/b/c").is_file());
        open(fd.as_fd(), Path::new("a/b")).expect("is there");
        assert!(open(fd.as_fd(), Path::new("x")).is_err());
    }

    #[test]
    fn no_link_and_no_way_up_is_followed() {
        let (dir, fd) = root();
        let outside = tempfile::tempdir().expect("a directory");
        symlink(outside.path(), dir.path().join("out")).expect("a link");
        symlink("/etc/passwd", dir.path().join("file")).expect("a link");
        for (path, shape) in [
            ("out", Shape::Directory),
            ("out/x", Shape::Directory),
            ("out/x", Shape::File),
            ("file", Shape::File),
            ("../x", Shape::Directory),
            ("a/../../x", Shape::File),
            ("/", Shape::Directory),
        ] {
            assert!(make(fd.as_fd(), Path::new(path), shape).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 0);
    }
}
