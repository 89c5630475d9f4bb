//! Where the files that a container sees come from.
//!
//! A relative source is found from the task's directory, beneath the allocation's, through no link. What lies where a
//! container can write is held open and [staged](super::staging), so that what is mounted is what was looked at. What is
//! named by directories that only root can write to (`alloc`, `<task>/local`) is mounted by its name.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum as Spread, MountTmpfsOptions,
    MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use super::config::{Mounted, Source};
use super::staging::{Staged, Staging};
use crate::{Propagation, TaskSpec};

/// A container's mounts, and what has to stay open until it has been started.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) list: Vec<Mount>,
    pub(super) staged: Vec<Staged>,
}

/// The task's three directories, the node's volumes and what the file asks for. Looks at the disk; blocks. Without a
/// `staging`, for a daemon that does not see what is mounted here, sources are mounted by name.
pub(super) fn mounts(
    spec: &TaskSpec,
    asked: &[Mounted],
    staging: Option<&Staging>,
) -> Result<Mounts, String> {
    let dirs = &spec.dirs;
    let mut mounts = Mounts::default();
    for (source, target) in
        [(&dirs.alloc_dir, "/alloc"), (&dirs.local, "/local"), (&dirs.secrets, "/secrets")]
    {
        mounts.list.push(bind(source, target, false));
    }
    // What a task said is not the task's to change.
    mounts.list.push(bind(&dirs.logs, "/alloc/logs", true));
    for volume in &spec.volumes {
        let spread = match volume.propagation {
            Propagation::Private => Spread::RPRIVATE,
            Propagation::HostToTask => Spread::RSLAVE,
            Propagation::Bidirectional => Spread::RSHARED,
        };
        let target = Path::new("/").join(&volume.target);
        mounts.list.push(Mount {
            bind_options: Some(MountBindOptions {
                propagation: Some(spread),
                ..MountBindOptions::default()
            }),
            ..bind(&volume.source, &target.to_string_lossy(), volume.read_only)
        });
    }
    for mount in asked {
        let mounted = asked_for(&dirs.task_dir, mount, staging, &mut mounts.staged)?;
        mounts.list.push(mounted);
    }
    Ok(mounts)
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

fn asked_for(
    task_dir: &Path,
    mount: &Mounted,
    staging: Option<&Staging>,
    kept: &mut Vec<Staged>,
) -> Result<Mount, String> {
    let plain = bind(Path::new(""), &mount.target, mount.read_only);
    Ok(match &mount.source {
        Source::Path(path) => {
            let found = source(task_dir, path, mount.read_only)?;
            let mut shown = found.path;
            if let (Some(fd), Some(staging)) = (&found.fd, staging) {
                let staged = staging.stage(fd)?;
                shown = staged.path.clone();
                kept.push(staged);
            }
            let propagation = mount.propagation.as_deref().and_then(spread);
            Mount {
                bind_options: propagation.map(|propagation| MountBindOptions {
                    propagation: Some(propagation),
                    ..MountBindOptions::default()
                }),
                ..bind(&shown, &mount.target, mount.read_only)
            }
        }
        Source::Volume { name, driver, no_copy, labels } => Mount {
            typ: Some(MountType::VOLUME),
            source: (!name.is_empty()).then(|| name.clone()),
            volume_options: Some(MountVolumeOptions {
                no_copy: no_copy.then_some(true),
                labels: (!labels.is_empty()).then(|| labels.clone().into_iter().collect()),
                driver_config: driver.as_ref().map(|driver| MountVolumeOptionsDriverConfig {
                    name: (!driver.name.is_empty()).then(|| driver.name.clone()),
                    options: Some(driver.options.clone().into_iter().collect()),
                }),
                ..MountVolumeOptions::default()
            }),
            ..plain
        },
        Source::Memory { size, mode } => Mount {
            typ: Some(MountType::TMPFS),
            source: None,
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: (*size > 0).then_some(*size),
                mode: (*mode > 0).then_some(*mode),
                options: None,
            }),
            ..plain
        },
    })
}

fn spread(word: &str) -> Option<Spread> {
    Some(match word {
        "private" => Spread::PRIVATE,
        "rprivate" => Spread::RPRIVATE,
        "slave" => Spread::SLAVE,
        "rslave" => Spread::RSLAVE,
        "shared" => Spread::SHARED,
        "rshared" => Spread::RSHARED,
        _ => return None,
    })
}

/// Where a relative path leads.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// The very file or directory, where a container could put another in its place.
    pub(super) fd: Option<OwnedFd>,
}

/// Finds a source, and makes a directory of what is not there. Absolute paths were allowed or refused before.
pub(super) fn source(task_dir: &Path, path: &str, read_only: bool) -> Result<Found, String> {
    if path.starts_with('/') {
        return Ok(Found { path: PathBuf::from(path), fd: None });
    }
    let outside = || format!("the volume `{path}` leads out of the allocation's directory");
    let root = task_dir.parent().ok_or_else(outside)?;
    let mut inside: Vec<_> = task_dir.file_name().into_iter().collect();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                inside.pop().ok_or_else(outside)?;
            }
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let is_alloc = inside.first().is_some_and(|first| *first == "alloc");
    let is_own = inside.first().copied() == task_dir.file_name();
    let hides = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    match inside.as_slice() {
        // The allocation's root itself would show every task's secrets.
        [] => return Err(outside()),
        // What the node keeps there is no task's.
        [first, ..] if hides(first) => return Err(outside()),
        [_, second, ..] if !is_alloc && (hides(second) || *second == "private") => {
            return Err(outside());
        }
        // Another task's directory has its secrets in it.
        [_] if !is_alloc && !is_own => return Err(outside()),
        [_, second, ..] if !is_alloc && !is_own && *second == "secrets" => return Err(outside()),
        // Whoever writes there decides what `local` and `secrets` are when the task is next started.
        [_] if !is_alloc && !read_only => {
            return Err(format!(
                "the volume `{path}` is a task's whole directory, which can only be mounted \
                 read-only: add `:ro`, or mount a directory in `local`"
            ));
        }
        _ => {}
    }
    let failed = |at: &Path, error: Errno| {
        format!("cannot open {} for a volume: {}", at.display(), error.desc())
    };
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut fd = open(root, folder, Mode::empty()).map_err(|error| failed(root, error))?;
    let mut at = root.to_owned();
    for part in &inside {
        at.push(part);
        fd = step(&fd, Path::new(part)).map_err(|error| match error {
            Errno::ELOOP => format!("the volume `{path}` goes through a link: {}", at.display()),
            error => failed(&at, error),
        })?;
    }
    let only_root_writes = inside.len() == 1 || (inside.len() == 2 && !is_alloc);
    Ok(Found { path: at, fd: (!only_root_writes).then_some(fd) })
}

/// What a name means in a directory, made if it means nothing; `ELOOP` for a link.
fn step(folder: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = match openat(folder, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {
            match mkdirat(folder, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
            openat(folder, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let kind = fstat(&fd)?.st_mode & SFlag::S_IFMT.bits();
    if kind == SFlag::S_IFLNK.bits() { Err(Errno::ELOOP) } else { Ok(fd) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().expect("a directory");
        let task_dir = root.path().join("web");
        fs::create_dir_all(task_dir.join("local")).expect("makes");
        fs::create_dir(root.path().join("alloc")).expect("makes");
        (root, task_dir)
    }

    #[test]
    fn relative_volumes_stay_in_the_allocation() {
        let (root, task_dir) = place();
        let found = source(&task_dir, "./local/data", false).expect("inside");
        assert_eq!(found.path, task_dir.join("local/data"));
        assert!(found.path.is_dir() && found.fd.is_some());
        let found = source(&task_dir, "../alloc", false).expect("inside");
        assert_eq!(found.path, root.path().join("alloc"));
        assert!(found.fd.is_none(), "only root can put another in its place");
        assert!(source(&task_dir, "local", false).expect("inside").fd.is_none());
        assert!(source(&task_dir, "../alloc/x", false).expect("inside").fd.is_some());
        for path in ["..", "../..", "../../etc", "local/../../../x"] {
            let problem = source(&task_dir, path, false).expect_err("outside");
            assert!(problem.contains("leads out"), "{problem}");
        }
    }

    #[test]
    fn links_are_not_followed_wherever_they_are() {
        let (_root, task_dir) = place();
        symlink("/etc", task_dir.join("local/link")).expect("links");
        symlink("/etc/passwd", task_dir.join("local/file")).expect("links");
        symlink("nowhere", task_dir.join("local/dangling")).expect("links");
        for path in ["local/link", "local/link/x", "local/file", "local/dangling"] {
            let problem = source(&task_dir, path, false).expect_err("a link");
            assert!(problem.contains("through a link"), "{problem}");
        }
        fs::write(task_dir.join("local/plain"), "").expect("writes");
        assert!(source(&task_dir, "local/plain", false).is_ok(), "a file can be mounted");
        assert!(source(&task_dir, "local/plain/x", false).is_err());
    }

    #[test]
    fn a_whole_task_directory_is_never_writable() {
        let (_root, task_dir) = place();
        assert!(source(&task_dir, ".", false).expect_err("writable").contains("read-only"));
        assert!(source(&task_dir, ".", true).is_ok());
    }

    #[test]
    fn what_is_another_tasks_or_the_nodes_is_not_mounted() {
        let (_root, task_dir) = place();
        for path in [
            "../other",
            "../other/secrets",
            "../other/private",
            "private",
            "../.artifacts/web",
            ".x",
        ] {
            let problem = source(&task_dir, path, true).expect_err("refused");
            assert!(problem.contains("leads out"), "{path}: {problem}");
        }
        for path in ["secrets", "../other/local", "../alloc/data"] {
            assert!(source(&task_dir, path, true).is_ok(), "{path}");
        }
    }
}
