//! Files within an allocation's directory, read and written without following any link: a task may have put one anywhere.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use model::AllocId;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

use super::{DirError, Dirs, Place, failed};

/// How a file is left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// Permissions; bits beyond 0777 are never set.
    pub mode: u32,
    /// The owner, where it is not the agent's.
    pub uid: Option<u32>,
    /// The group, where it is not the agent's.
    pub gid: Option<u32>,
}

impl Dirs {
    /// Reads a file; `None` where there is none. Only a plain file with one name is read: neither a link nor another
    /// file of the node under a second name. Blocks on the disk.
    ///
    /// # Errors
    /// In words, when it cannot be read or is larger than `limit` bytes.
    pub(crate) fn read_beneath(
        &self,
        alloc: AllocId,
        parts: &[String],
        limit: usize,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some((name, folders)) = parts.split_last() else { return Ok(None) };
        let folder = match self.enter_beneath(alloc, folders, false) {
            Ok(folder) => folder,
            Err(DirError::System { source: Errno::ENOENT, .. }) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match openat(&folder.fd, name.as_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => {
                return Err("it is a symbolic link, and links are not followed".into());
            }
            Err(errno) => return Err(errno.to_string()),
        };
        let about = about(&fd)?;
        if SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err("it is not a plain file".into());
        }
        if about.st_nlink > 1 {
            return Err("it has a second name somewhere, and such files are not read".into());
        }
        let mut bytes = Vec::new();
        let most = limit as u64 + 1;
        File::from(fd).take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() > limit {
            return Err(format!("it has more than {limit} bytes"));
        }
        Ok(Some(bytes))
    }

    /// Writes a file: whole under another name first, then in the place of what is there. Folders on the way are made.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When something on the way is no directory, or the system refuses.
    pub(crate) fn write_beneath(
        &self,
        alloc: AllocId,
        parts: &[String],
        bytes: &[u8],
        access: Access,
    ) -> Result<(), DirError> {
        let Some((name, folders)) = parts.split_last() else {
            return Err(DirError::Name(String::new()));
        };
        let folder = self.enter_beneath(alloc, folders, true)?;
        let path = folder.path.join(name);
        let refused = |act, errno| failed(act, path.clone(), errno);
        let temporary =
            format!(".{}.rendered", model::seeded_uuid(&[name.as_bytes(), b"rendered"]));
        folder.unlink(&temporary, false)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&folder.fd, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| refused("write", errno))?;
        let written = (|| {
            let mut file = File::from(fd);
            file.write_all(bytes).map_err(|error| {
                refused("write", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
            })?;
            if access.uid.is_some() || access.gid.is_some() {
                let (uid, gid) = (access.uid.map(Uid::from_raw), access.gid.map(Gid::from_raw));
                fchown(file.as_fd(), uid, gid)
                    .map_err(|errno| refused("set the owner of", errno))?;
            }
            fchmod(file.as_fd(), Mode::from_bits_truncate(access.mode & 0o777))
                .map_err(|errno| refused("set the mode of", errno))?;
            renameat(&folder.fd, temporary.as_str(), &folder.fd, name.as_str())
                .map_err(|errno| refused("write", errno))
        })();
        if written.is_err() {
            let _ = folder.unlink(&temporary, false);
        }
        written
    }

    fn enter_beneath(
        &self,
        alloc: AllocId,
        folders: &[String],
        make: bool,
    ) -> Result<Place, DirError> {
        let mut place = Place::open(&self.base)?.enter(&alloc.to_string())?;
        for folder in folders {
            if matches!(folder.as_str(), "" | "." | "..") || folder.contains(['/', '\0']) {
                return Err(DirError::Name(folder.clone()));
            }
            place = if make { place.child(folder, 0o755)? } else { place.enter(folder)? };
        }
        Ok(place)
    }
}

fn about(fd: &OwnedFd) -> Result<FileStat, String> {
    fstat(fd).map_err(|errno| errno.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn parts(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn links_are_neither_read_nor_written_through() {
        let data = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "kept").expect("a file");
        let alloc = AllocId::new(model::seeded_uuid(&[b"beneath"]));
        let dirs = Dirs::new(data.path(), false);
        let made = dirs.make(alloc, "web", crate::dirs::Room::default()).expect("directories");
        let access = Access { mode: 0o4640, ..Access::default() };

        symlink(&secret, made.local.join("a")).expect("a link");
        symlink(outside.path(), made.local.join("out")).expect("a link");
        std::fs::hard_link(&secret, made.local.join("hard")).expect("a second name");
        for path in ["web/local/a", "web/local/out/secret", "web/local/hard", "web/local"] {
            assert!(dirs.read_beneath(alloc, &parts(path), 100).is_err(), "{path}");
        }
        assert_eq!(dirs.read_beneath(alloc, &parts("web/x/y"), 100), Ok(None));
        for path in ["web/../../x", "web//x", "web/local/out/new", "web/local"] {
            assert!(dirs.write_beneath(alloc, &parts(path), b"x", access).is_err(), "{path}");
        }
        // A link in the place of the file is replaced and not followed.
        dirs.write_beneath(alloc, &parts("web/local/a"), b"new", access).expect("written");
        dirs.write_beneath(alloc, &parts("web/local/b/c"), b"new", access).expect("written");
        let found = made.local.join("a").symlink_metadata().expect("is there");
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o7777, 0o640, "never setuid");
        assert_eq!(std::fs::read(&secret).expect("is there"), b"kept");
        assert!(!outside.path().join("new").exists());
        assert_eq!(dirs.read_beneath(alloc, &parts("web/local/b/c"), 3), Ok(Some(b"new".to_vec())));
        assert!(dirs.read_beneath(alloc, &parts("web/local/b/c"), 2).is_err());
    }
}
