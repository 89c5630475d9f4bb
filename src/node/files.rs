//! An allocation's files, for people who look. Every path is resolved by the kernel beneath the allocation's directory,
//! through no symlink at all; `secrets` and `private` of tasks are not there for anybody.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use model::{AllocId, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};

use crate::dirs::{DirError, Dirs, Place};

/// Entries of a directory that are listed.
const MAX_LISTED: usize = 10_000;

/// The longest path that is looked up, in bytes.
const MAX_PATH: usize = 4096;

/// A file or directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name, without folders. What is not UTF-8 is replaced.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Its size in bytes.
    pub size: u64,
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    /// Last change of its content.
    pub modified: Timestamp,
}

/// Why a file cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("{0}")]
    NotFound(String),
    /// There may be one, and nobody may see it.
    #[error("{0}")]
    Hidden(String),
    /// It is not what was asked for: a directory, a pipe, a path that leads out.
    #[error("{0}")]
    Refused(String),
    /// The disk refused.
    #[error("{0}")]
    Failed(String),
}

/// What a directory holds, by name. Blocks on the disk.
pub(crate) fn list(dirs: &Dirs, alloc: AllocId, path: &str) -> Result<Vec<FileInfo>, FileError> {
    let (root, parts) = resolve(dirs, alloc, path)?;
    let fd = open(&root, &parts, OFlag::O_DIRECTORY | OFlag::O_RDONLY, path)?;
    let place = Place { fd, path: PathBuf::from(path) };
    let failed = |error: &dyn std::fmt::Display| FileError::Failed(format!("{path}: {error}"));
    let names = place.first_entries(MAX_LISTED).map_err(|error| failed(&error))?;
    let mut files: Vec<_> = names
        .into_iter()
        .filter(|(name, _)| {
            let mut inner = parts.clone();
            inner.push(name);
            !is_hidden(&inner)
        })
        .filter_map(|(name, _)| {
            let stat = fstatat(&place.fd, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
            Some(info(name.to_string_lossy().into_owned(), &stat))
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// What a path is. Blocks on the disk.
pub(crate) fn stat(dirs: &Dirs, alloc: AllocId, path: &str) -> Result<FileInfo, FileError> {
    let (root, parts) = resolve(dirs, alloc, path)?;
    let fd = open(&root, &parts, OFlag::O_PATH, path)?;
    let stat = fstat(&fd).map_err(|errno| FileError::Failed(format!("{path}: {errno}")))?;
    let name = parts
        .file_name()
        .map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(info(name, &stat))
}

/// Opens a file for reading; never anything that reading could change or wait for. Blocks on the disk.
pub(crate) fn read(dirs: &Dirs, alloc: AllocId, path: &str) -> Result<File, FileError> {
    let regular = |stat: &FileStat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    let refused = || FileError::Refused(format!("`{path}` is not a file"));
    let (root, parts) = resolve(dirs, alloc, path)?;
    let failed = |errno: Errno| FileError::Failed(format!("{path}: {errno}"));
    let looked = open(&root, &parts, OFlag::O_PATH, path)?;
    if !regular(&fstat(&looked).map_err(failed)?) {
        return Err(refused());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = open(&root, &parts, flags, path)?;
    // It may have been exchanged since.
    if !regular(&fstat(&fd).map_err(failed)?) {
        return Err(refused());
    }
    Ok(File::from(fd))
}

/// The allocation's directory, and the way from there.
fn resolve(dirs: &Dirs, alloc: AllocId, path: &str) -> Result<(Place, PathBuf), FileError> {
    if path.len() > MAX_PATH || path.contains('\0') {
        return Err(FileError::Refused("the path is too long or has a zero byte".to_owned()));
    }
    let mut parts = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let words = "the path must stay in the allocation's directory: leave `..` out";
                return Err(FileError::Refused(words.to_owned()));
            }
        }
    }
    if is_hidden(&parts) {
        return Err(FileError::Hidden("reading a task's secrets is not allowed".to_owned()));
    }
    let root = dirs.enter(alloc, &[]).map_err(|error| match error {
        DirError::System { source: Errno::ENOENT, .. } => {
            FileError::NotFound(format!("allocation {} has no files on this node", alloc.short()))
        }
        error => FileError::Failed(error.to_string()),
    })?;
    Ok((root, parts))
}

/// Whether a path is one of a task's folders that nobody may see, or lies in it.
fn is_hidden(path: &Path) -> bool {
    let mut parts = path.iter();
    let of_task = parts.next().is_some_and(|first| first != "alloc");
    of_task && parts.next().is_some_and(|second| second == "secrets" || second == "private")
}

fn open(
    root: &Place,
    parts: &Path,
    flags: OFlag,
    asked: &str,
) -> Result<std::os::fd::OwnedFd, FileError> {
    let inner = if parts.as_os_str().is_empty() { Path::new(".") } else { parts };
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    openat2(&root.fd, inner, how).map_err(|errno| match errno {
        Errno::ENOENT => FileError::NotFound(format!("there is no `{asked}`")),
        Errno::ENOTDIR => FileError::Refused(format!("`{asked}` is not a directory")),
        Errno::ELOOP | Errno::EXDEV => {
            FileError::Refused(format!("`{asked}` leads through a symlink; it is not followed"))
        }
        errno => FileError::Failed(format!("{asked}: {errno}")),
    })
}

fn info(name: String, stat: &FileStat) -> FileInfo {
    FileInfo {
        name,
        is_dir: stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits(),
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mode: stat.st_mode,
        modified: Timestamp(
            stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn nothing_outside_and_nothing_secret_is_seen() {
        let data = tempfile::tempdir().expect("a directory");
        std::fs::write(data.path().join("outside"), "mine").expect("a file");
        let (dirs, alloc) = (Dirs::new(data.path(), false), AllocId::default());
        let made = dirs.make(alloc, "web", crate::dirs::Room::default()).expect("directories");
        std::fs::write(made.local.join("a"), "text").expect("a file");
        std::fs::write(made.secrets.join("token"), "secret").expect("a file");
        symlink(data.path(), made.local.join("out")).expect("a link");
        symlink("a", made.local.join("near")).expect("a link");
        symlink("../secrets/token", made.local.join("token")).expect("a link");
        nix::unistd::mkfifo(&made.local.join("pipe"), Mode::S_IRUSR).expect("a pipe");

        let names = |path: &str| -> Vec<String> {
            list(&dirs, alloc, path).expect("a list").into_iter().map(|file| file.name).collect()
        };
        assert_eq!(names("/"), ["alloc", "web"]);
        assert_eq!(names("web"), ["local", "tmp"]);
        assert_eq!(names("/web/local/"), ["a", "near", "out", "pipe", "token"]);
        let mut text = String::new();
        read(&dirs, alloc, "web/./local/a").expect("open").read_to_string(&mut text).expect("read");
        assert_eq!(text, "text");
        assert_eq!(stat(&dirs, alloc, "web/local/a").expect("there").size, 4);
        assert!(stat(&dirs, alloc, "").expect("there").is_dir);

        for path in ["web/secrets", "web/secrets/token", "web/private", "/web//secrets/./token"] {
            assert!(matches!(read(&dirs, alloc, path), Err(FileError::Hidden(_))), "{path}");
            assert!(matches!(list(&dirs, alloc, path), Err(FileError::Hidden(_))), "{path}");
            assert!(matches!(stat(&dirs, alloc, path), Err(FileError::Hidden(_))), "{path}");
        }
        for path in [
            "../x",
            "web/local/../../../../outside",
            "web/local/out/outside",
            "web/local/token",
            "web/local/near",
            "web/local/pipe",
            "web/local",
            "web/local/a/b",
            "a\0b",
        ] {
            assert!(matches!(read(&dirs, alloc, path), Err(FileError::Refused(_))), "{path}");
        }
        assert!(matches!(list(&dirs, alloc, "web/local/out"), Err(FileError::Refused(_))));
        assert!(matches!(read(&dirs, alloc, "web/local/b"), Err(FileError::NotFound(_))));
        dirs.remove(alloc).expect("removed");
        assert!(matches!(list(&dirs, alloc, "/"), Err(FileError::NotFound(_))));
    }
}
