//! Directories of the node that a task sees: what its configuration offers under a name, and nothing else.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use driver::{Propagation, Volume};
use model::{HostVolume, VolumeMount, VolumeRequest, interpolate, lookup};

use super::{Preparing, Unprepared};

/// Symlinks that may lie on the way to a volume.
const MAX_LINKS: usize = 40;

/// Finds the directories for a task's mounts.
///
/// # Errors
/// When the node has no such volume, or it is not what the configuration says it is.
pub(super) async fn volumes(task: &Preparing<'_>) -> Result<Vec<Volume>, Unprepared> {
    let node = &task.shared.options.node;
    let resolve = |text: &str| interpolate(text, |reference| lookup(task.env, node, reference));
    let mut volumes = Vec::new();
    for mount in &task.task.volume_mounts {
        let name = resolve(mount.volume.as_deref().unwrap_or_default());
        let Some(request) = task.group.volumes.get(&name) else {
            return Err(Unprepared::setup(format!("the group has no volume `{name}`"), false));
        };
        // Other kinds are not acted on; whoever wrote the file was told.
        if request.kind != "host" {
            continue;
        }
        if task.task.driver == "raw_exec" {
            let words = format!(
                "raw_exec cannot mount volume `{name}`: its tasks see the node's own files; use the path itself, or another driver"
            );
            return Err(Unprepared::setup(words, false));
        }
        let source = request.source_of(task.alloc.index);
        let Some(offer) = node.host_volumes.get(&*source) else {
            let words =
                format!("this node has no host volume `{source}`; add it to its `client` block");
            return Err(Unprepared::setup(words, false));
        };
        let target = resolve(mount.destination.as_deref().unwrap_or_default());
        volumes.push(volume(mount, request, offer, &source, target).await?);
    }
    Ok(volumes)
}

async fn volume(
    mount: &VolumeMount,
    request: &VolumeRequest,
    offer: &HostVolume,
    source: &str,
    target: String,
) -> Result<Volume, Unprepared> {
    let up = Path::new(&target).components().any(|part| part == Component::ParentDir);
    if target.is_empty() || up {
        let words =
            format!("volume `{source}` cannot be mounted at `{target}`: name a path without `..`");
        return Err(Unprepared::setup(words, false));
    }
    let propagation = match mount.propagation_mode.as_str() {
        "bidirectional" if !offer.allow_bidirectional => {
            let words = format!(
                "mounts of host volume `{source}` may not go both ways on this node; its `client` block can allow it with allow_bidirectional = true"
            );
            return Err(Unprepared::setup(words, false));
        }
        "bidirectional" => Propagation::Bidirectional,
        "host-to-task" => Propagation::HostToTask,
        _ => Propagation::Private,
    };
    let path = PathBuf::from(&offer.path);
    let checked = tokio::task::spawn_blocking(move || directory(&path)).await;
    let checked = checked.unwrap_or_else(|_| Err("it could not be looked at".to_owned()));
    let source = checked.map_err(|problem| {
        Unprepared::setup(format!("host volume `{source}` ({}): {problem}", offer.path), true)
    })?;
    let read_only = offer.read_only || mount.read_only || !request.writes();
    Ok(Volume { source, target, read_only, propagation })
}

/// Where a configured path leads. A symlink on the way counts only if its owner is root or the agent's own user:
/// anybody else could lead the mount to where they like. Blocks on the disk.
fn directory(path: &Path) -> Result<PathBuf, String> {
    if !path.is_absolute() {
        return Err("the path must be absolute".to_owned());
    }
    let own = nix::unistd::geteuid().as_raw();
    let mut ahead: VecDeque<OsString> = parts(path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let meta =
            next.symlink_metadata().map_err(|error| format!("{}: {error}", next.display()))?;
        if !meta.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err("it leads through too many symlinks".to_owned());
        }
        if meta.uid() != 0 && meta.uid() != own {
            return Err(format!(
                "{} is a symlink of another user; it is not followed",
                next.display()
            ));
        }
        let target =
            std::fs::read_link(&next).map_err(|error| format!("{}: {error}", next.display()))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            ahead.push_front(part);
        }
    }
    let meta = at.symlink_metadata().map_err(|error| format!("{}: {error}", at.display()))?;
    if meta.is_dir() { Ok(at) } else { Err("it is not a directory".to_owned()) }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    fn request(read_only: bool) -> VolumeRequest {
        VolumeRequest {
            kind: "host".into(),
            source: "data".into(),
            read_only,
            ..Default::default()
        }
    }

    fn offer(path: &Path) -> HostVolume {
        HostVolume { path: path.display().to_string(), ..HostVolume::default() }
    }

    #[tokio::test]
    async fn the_stricter_side_says_who_may_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().canonicalize().expect("a path");
        for (node, group, task, expected) in [
            (false, false, false, false),
            (true, false, false, true),
            (false, true, false, true),
            (false, false, true, true),
        ] {
            let offer = HostVolume { read_only: node, ..offer(&path) };
            let mount = VolumeMount { read_only: task, ..VolumeMount::default() };
            let made = volume(&mount, &request(group), &offer, "data", "/data".into()).await;
            let made = made.expect("a volume");
            assert_eq!((made.read_only, &made.source), (expected, &path));
        }
    }

    #[tokio::test]
    async fn both_ways_only_where_the_node_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let mount = VolumeMount { propagation_mode: "bidirectional".into(), ..Default::default() };
        let closed = volume(&mount, &request(false), &offer(dir.path()), "data", "/d".into()).await;
        assert!(closed.expect_err("refused").message.contains("allow_bidirectional"));
        let open = HostVolume { allow_bidirectional: true, ..offer(dir.path()) };
        let made = volume(&mount, &request(false), &open, "data", "/d".into()).await;
        assert_eq!(made.expect("a volume").propagation, Propagation::Bidirectional);
        for target in ["", "../x", "/a/../../b"] {
            let made = volume(&mount, &request(false), &open, "data", target.into()).await;
            assert!(made.is_err(), "{target}");
        }
    }

    #[test]
    fn links_of_root_are_followed_and_others_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a path");
        let disk = root.join("disk");
        std::fs::create_dir(&disk).expect("a directory");
        std::fs::write(root.join("file"), "x").expect("a file");
        symlink("disk", root.join("relative")).expect("a link");
        symlink(root.join("relative"), root.join("absolute")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        assert_eq!(directory(&root.join("absolute")), Ok(disk.clone()));
        assert_eq!(directory(&root.join("disk/../relative")), Ok(disk));
        for wrong in ["file", "loop", "nothing"] {
            assert!(directory(&root.join(wrong)).is_err(), "{wrong}");
        }
        assert!(directory(Path::new("disk")).is_err());
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            return eprintln!("skipped: only root can give a link away");
        }
        lchown(root.join("relative"), Some(1234), None).expect("given away");
        let problem = directory(&root.join("absolute")).expect_err("refused");
        assert!(problem.contains("symlink of another user"), "{problem}");
    }
}
