//! What an allocation takes over from the one it replaces: with a sticky disk, the group's `alloc/data` and each task's
//! `local`.
//!
//! Each is one rename of a whole tree into the place of an empty one, on open directories. So nothing inside is looked
//! at, followed or copied, whatever a task put there; and a crash in between leaves each tree in one place or the other.
//! What is moved is gone from there, so that doing it again does nothing.

use std::time::Duration;

use model::AllocId;
use nix::errno::Errno;

use super::{Preparing, Unprepared};
use crate::dirs::{DirError, Dirs, Place};

/// How long a replacement waits for the end of what it replaces; then its start fails and is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Waits until the previous allocation is over and takes its data over. Does nothing where there is none on this node.
pub(super) async fn inherit(task: &Preparing<'_>) -> Result<(), Unprepared> {
    let Some(previous) = task.alloc.previous.filter(|_| task.group.ephemeral_disk.sticky) else {
        return Ok(());
    };
    let over = task.shared.ledger.until_over(previous);
    match tokio::time::timeout(LONGEST_WAIT, over).await {
        Ok(true) => {}
        // It ran elsewhere, or is forgotten: the disk starts empty.
        Ok(false) => return Ok(()),
        Err(_) => {
            let words =
                format!("allocation {} still runs, and its data is waited for", previous.short());
            return Err(Unprepared::setup(words, true));
        }
    }
    let (dirs, alloc, name) = (task.shared.dirs.clone(), task.alloc.id, task.task.name.clone());
    let moved = tokio::task::spawn_blocking(move || take_over(&dirs, previous, alloc, &name)).await;
    let words = |problem: &str| {
        format!("the data of allocation {} could not be taken over: {problem}", previous.short())
    };
    match moved {
        Ok(Ok(moved)) => {
            for tree in moved {
                let from = previous.short();
                task.progress.say("Driver", format!("Took over {tree} of allocation {from}"));
            }
            Ok(())
        }
        Ok(Err(error)) => Err(Unprepared::setup(words(&error.to_string()), true)),
        Err(_) => Err(Unprepared::setup(words("the move ended early"), true)),
    }
}

/// Moves what is there to be moved; returns what was. Blocks on the disk.
fn take_over(dirs: &Dirs, from: AllocId, to: AllocId, task: &str) -> Result<Vec<String>, DirError> {
    let mut moved = Vec::new();
    for (parent, name) in [("alloc", "data"), (task, "local")] {
        let (Some(old), Some(new)) =
            (there(dirs.enter(from, &[parent]))?, there(dirs.enter(to, &[parent]))?)
        else {
            continue;
        };
        if take(&old, &new, name)? {
            moved.push(format!("{parent}/{name}"));
        }
    }
    Ok(moved)
}

/// Renames a directory over an empty one. One that is in use already is left alone.
fn take(old: &Place, new: &Place, name: &str) -> Result<bool, DirError> {
    if there(old.enter(name))?.is_none() {
        return Ok(false);
    }
    match old.move_to(name.as_ref(), new, name) {
        Ok(()) => {}
        Err(DirError::System {
            source: Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST, ..
        }) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    // Nobody was there to exchange it in between; if somebody was, the task must not find a way out in its place.
    match new.enter(name) {
        Ok(_) => Ok(true),
        Err(_) => {
            new.unlink(name, false)?;
            new.child(name, 0o777)?;
            Ok(false)
        }
    }
}

/// Nothing where there is no directory of that name: none at all, or something else, which is not taken over.
fn there(opened: Result<Place, DirError>) -> Result<Option<Place>, DirError> {
    match opened {
        Ok(place) => Ok(Some(place)),
        Err(DirError::NotADirectory { .. } | DirError::System { source: Errno::ENOENT, .. }) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::sys::stat::Mode;

    use super::*;

    fn id(n: u8) -> AllocId {
        AllocId::new(model::seeded_uuid(&[&[n]]))
    }

    #[test]
    fn hostile_content_moves_as_it_is_and_once() {
        let data = tempfile::tempdir().expect("a directory");
        let outside = data.path().join("outside");
        std::fs::write(&outside, "mine").expect("a file");
        let dirs = Dirs::new(data.path(), false);
        let old = dirs.make(id(1), "web", crate::dirs::Room::default()).expect("directories");
        let new = dirs.make(id(2), "web", crate::dirs::Room::default()).expect("directories");
        let kept = old.alloc_dir.join("data");
        std::fs::write(kept.join("db"), "rows").expect("a file");
        symlink(&outside, kept.join("way out")).expect("a link");
        nix::unistd::mkfifo(&kept.join("pipe"), Mode::S_IRUSR).expect("a pipe");
        let tool = old.local.join("tool");
        std::fs::write(&tool, "x").expect("a file");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o4755)).expect("a mode");
        // Deeper than any path is long.
        let mut deep = dirs.enter(id(1), &["web", "local"]).expect("open");
        for _ in 0..3000 {
            deep = deep.child("d", 0o755).expect("a directory");
        }
        let moved = take_over(&dirs, id(1), id(2), "web").expect("moved");
        assert_eq!(moved, ["alloc/data", "web/local"]);
        let now = new.alloc_dir.join("data");
        assert_eq!(std::fs::read_to_string(now.join("db")).expect("read"), "rows");
        assert_eq!(std::fs::read_link(now.join("way out")).expect("a link"), outside);
        assert_eq!(std::fs::read_to_string(&outside).expect("read"), "mine");
        assert!(new.local.join("tool").exists() && !kept.exists());
        // Another start of the task finds nothing to move, also when the old one is there again.
        assert!(take_over(&dirs, id(1), id(2), "web").expect("nothing").is_empty());
        dirs.make(id(1), "web", crate::dirs::Room::default()).expect("directories");
        std::fs::write(kept.join("db"), "older").expect("a file");
        assert!(take_over(&dirs, id(1), id(2), "web").expect("nothing").is_empty());
        assert_eq!(std::fs::read_to_string(now.join("db")).expect("read"), "rows");
        dirs.remove(id(1)).expect("removed");
        assert!(take_over(&dirs, id(1), id(2), "web").expect("nothing").is_empty());
        dirs.remove(id(2)).expect("removed");
    }

    #[test]
    fn a_link_in_place_of_data_is_not_taken_over() {
        let data = tempfile::tempdir().expect("a directory");
        let outside = data.path().join("outside");
        std::fs::create_dir(&outside).expect("a directory");
        let dirs = Dirs::new(data.path(), false);
        let old = dirs.make(id(1), "web", crate::dirs::Room::default()).expect("directories");
        let new = dirs.make(id(2), "web", crate::dirs::Room::default()).expect("directories");
        for tree in [old.alloc_dir.join("data"), old.local.clone()] {
            std::fs::remove_dir(&tree).expect("removed");
            symlink(&outside, &tree).expect("a link");
        }
        assert!(take_over(&dirs, id(1), id(2), "web").expect("nothing").is_empty());
        assert!(new.local.symlink_metadata().expect("there").is_dir());
        // Nor is what lies behind a whole folder that was replaced by a link.
        std::fs::remove_dir_all(&old.alloc_dir).expect("removed");
        std::fs::create_dir(outside.join("data")).expect("a directory");
        symlink(&outside, &old.alloc_dir).expect("a link");
        assert!(take_over(&dirs, id(1), id(2), "web").expect("nothing").is_empty());
        assert!(outside.join("data").exists());
    }
}
