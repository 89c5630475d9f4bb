//! Directories that never reach a disk: what is secret is kept in memory, with a limit.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::fstat;

use super::{DirError, Place, failed};

/// The size of `secrets` and `private` unless the job asks for more, in megabytes.
const MEGABYTES: u64 = 1;

/// The most files in one of them.
const FILES: u64 = 4096;

/// Mounts memory on a directory, unless it is mounted there. Without the privilege for that the directory stays as it is,
/// on the disk and closed to everybody else.
pub(super) fn mount(parent: &Place, name: &str, mode: u32, megabytes: u64) -> Result<(), DirError> {
    let dir = parent.enter(name)?;
    if is_other(parent, &dir)? {
        return Ok(());
    }
    let size = if megabytes == 0 { MEGABYTES } else { megabytes };
    let options = format!("size={size}m,nr_inodes={FILES},mode={mode:o}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let (tmpfs, options) = (Some("tmpfs"), Some(options.as_str()));
    match nix::mount::mount(tmpfs, &name_of(&dir), tmpfs, flags, options) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM | Errno::EACCES) => dir.mode(mode),
        Err(errno) => Err(failed("mount memory on", dir.path.clone(), errno)),
    }
}

/// Takes off whatever is mounted on a directory, so that what is removed is never on another file system.
pub(super) fn unmount(parent: &Place, name: &OsStr) -> Result<(), DirError> {
    // Something can be mounted on a mount; more than a few layers nobody makes by accident.
    for _ in 0..8 {
        let dir = parent.enter(name)?;
        if !is_other(parent, &dir)? {
            return Ok(());
        }
        umount2(&name_of(&dir), MntFlags::MNT_DETACH)
            .map_err(|errno| failed("unmount", dir.path.clone(), errno))?;
    }
    Err(failed("unmount", parent.path.join(name), Errno::EBUSY))
}

/// Whether a directory is the root of another file system than its parent's.
fn is_other(parent: &Place, dir: &Place) -> Result<bool, DirError> {
    let device = |place: &Place| {
        fstat(&place.fd)
            .map(|found| found.st_dev)
            .map_err(|e| failed("look at", place.path.clone(), e))
    };
    Ok(device(parent)? != device(dir)?)
}

/// Names the open directory and no other, whatever is in its place by now.
fn name_of(dir: &Place) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use driver::TaskRoot;
    use model::AllocId;

    use super::super::{Dirs, Room};

    #[test]
    fn secrets_never_reach_the_disk_and_have_a_limit() {
        if !nix::unistd::Uid::effective().is_root() {
            assert!(std::env::var_os("CI").is_none(), "it takes root");
            return eprintln!("skipped, because it takes root");
        }
        let data = tempfile::tempdir().expect("a directory");
        let alloc = AllocId::new(model::seeded_uuid(&[b"memory"]));
        let dirs = Dirs::new(data.path(), true);
        let room = Room { secrets_mb: 2, ..Room::default() };
        let made = dirs.make(alloc, "web", room).expect("directories");
        dirs.make(alloc, "web", room).expect("a second time");
        fs::write(made.secrets.join("key"), "canary").expect("a file");
        let kind = nix::sys::statfs::statfs(&made.secrets).expect("asked").filesystem_type();
        assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
        let full = fs::write(made.secrets.join("more"), vec![0; 3 << 20]).expect_err("no room");
        assert_eq!(full.raw_os_error(), Some(libc_enospc()));
        let mode = |path: &std::path::Path| {
            path.metadata().expect("is there").permissions().mode() & 0o7777
        };
        assert_eq!(mode(&made.secrets), 0o700);
        let image = Room { root: TaskRoot::Image, closed: true, ..Room::default() };
        let other = dirs.make(alloc, "image", image).expect("directories");
        // Open to users that only the image knows, and the way to it closed to all on the node.
        assert_eq!((mode(&other.secrets), mode(&other.task_dir)), (0o777, 0o700));
        dirs.remove(alloc).expect("removed");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&alloc.to_string()));
        assert!(!made.task_dir.exists());
    }

    fn libc_enospc() -> i32 {
        nix::errno::Errno::ENOSPC as i32
    }
}
