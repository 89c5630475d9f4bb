//! Names that nobody can change for what is about to be mounted.
//!
//! Looking at a source and mounting it are two steps, taken by two programs. Between them a neighbour that can write to
//! where the source lies could put a link there. So the very directory that was looked at, which is held open, is
//! mounted once more in a folder that only root can write to, and the daemon is given that name. The container has a
//! mount of its own once it runs; ours is taken away then.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{SFlag, fstat};

/// Where staged mounts are. Gone after a restart of the machine, as mounts are.
const FOLDER: &str = "/run/herder/mounts";

/// The staging of one driver of one agent.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    folder: PathBuf,
}

/// One staged source; taken away when dropped.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) path: PathBuf,
}

impl Staging {
    /// For an agent's driver, by a name of its own.
    pub(super) fn new(name: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        Self { folder: Path::new(FOLDER).join(name) }
    }

    /// Takes away what an agent that was killed could not.
    pub(super) fn clear(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            unstage(&entry.path());
        }
        let _ = fs::remove_dir(&self.folder);
    }

    /// Mounts what is held open under a name of its own.
    pub(super) fn stage(&self, source: &OwnedFd) -> Result<Staged, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let failed = |problem: String| format!("cannot prepare a mount: {problem}");
        let words = |error: std::io::Error| failed(error.to_string());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(words)?;
        let owner = fs::symlink_metadata(&self.folder).map_err(words)?;
        if !owner.is_dir() || owner.uid() != 0 || owner.mode() & 0o022 != 0 {
            let folder = self.folder.display();
            return Err(failed(format!("{folder} must belong to root, and to nobody else")));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{}-{number}", std::process::id()));
        // Left by an earlier process of the same number.
        unstage(&path);
        let staged = Staged { path };
        let kind = fstat(source.as_fd()).map_err(|error| failed(error.to_string()))?.st_mode;
        if kind & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
            fs::create_dir(&staged.path).map_err(words)?;
        } else {
            fs::File::create_new(&staged.path).map_err(words)?;
        }
        let held = format!("/proc/self/fd/{}", source.as_raw_fd());
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(held.as_str()), &staged.path, None::<&str>, flags, None::<&str>)
            .map_err(|error| failed(error.to_string()))?;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        unstage(&self.path);
    }
}

/// Takes a mount and its place away. What is still mounted is never removed: that would reach into the source.
fn unstage(path: &Path) {
    loop {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Not mounted, or not there.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a mount stays");
                return;
            }
        }
    }
    // An empty directory or an empty file, and nothing beneath.
    if fs::remove_dir(path).is_err() {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_is_what_was_looked_at() {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs as root");
            println!("skipped: only root can mount");
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        let staging = Staging::new(&place.path().to_string_lossy());
        let source = place.path().join("source");
        fs::create_dir(&source).expect("makes");
        fs::write(source.join("mark"), "ours").expect("writes");
        let held = OwnedFd::from(fs::File::open(&source).expect("opens"));
        fs::rename(&source, place.path().join("moved")).expect("moves");
        std::os::unix::fs::symlink("/etc", &source).expect("links");
        let staged = staging.stage(&held).expect("mounts");
        let path = staged.path.clone();
        assert_eq!(fs::read_to_string(path.join("mark")).expect("reads"), "ours");
        drop(staged);
        assert!(!path.exists());
        // An agent that is killed leaves it to the next.
        std::mem::forget(staging.stage(&held).expect("mounts"));
        let file = OwnedFd::from(fs::File::open(place.path().join("moved/mark")).expect("opens"));
        std::mem::forget(staging.stage(&file).expect("mounts"));
        staging.clear();
        assert!(!staging.folder.exists());
        let kept = fs::read_to_string(place.path().join("moved/mark")).expect("is kept");
        assert_eq!(kept, "ours", "only the mount is gone");
    }
}
