//! File events of a local repository. An event means "look again", never what changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// A quiet time after the last event, so that a commit's many writes are one look.
const QUIET: Duration = Duration::from_millis(10);
/// The longest that events can put a look off.
const LONGEST: Duration = Duration::from_millis(100);

/// Watches the folders in which Git keeps what a branch is.
pub(super) struct GitWatch {
    changed: Arc<Notify>,
    watcher: Option<(RecommendedWatcher, Vec<Watched>)>,
}

/// A folder that is watched, and which one it was: a folder that was replaced must be watched anew.
#[derive(Clone, PartialEq, Eq)]
struct Watched {
    path: PathBuf,
    recursive: bool,
    identity: (u64, u64),
}

impl GitWatch {
    pub(super) fn new() -> Self {
        Self { changed: Arc::new(Notify::new()), watcher: None }
    }

    /// Watches these folders; those that do not exist are left out. Returns whether anything is watched anew: then
    /// something may have happened before, and another look is needed.
    pub(super) fn follow(&mut self, folders: &[(PathBuf, bool)]) -> bool {
        let wanted: Vec<Watched> = folders
            .iter()
            .filter_map(|(path, recursive)| {
                let about = fs::metadata(path).ok()?;
                let identity = (about.dev(), about.ino());
                Some(Watched { path: path.clone(), recursive: *recursive, identity })
            })
            .collect();
        match &self.watcher {
            Some((_, watched)) if *watched == wanted => return false,
            None if wanted.is_empty() => return false,
            _ => {}
        }
        self.watcher = None;
        if wanted.is_empty() {
            return false;
        }
        match watcher(&self.changed, &wanted) {
            Ok(watcher) => {
                self.watcher = Some((watcher, wanted));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the repository's files cannot be watched; it is only polled");
                false
            }
        }
    }

    /// Waits for an event and the quiet after it.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
        let latest = Instant::now() + LONGEST;
        loop {
            let again = async {
                tokio::select! {
                    () = self.changed.notified() => true,
                    () = sleep(QUIET) => false,
                }
            };
            if !matches!(timeout_at(latest, again).await, Ok(true)) {
                return;
            }
        }
    }
}

fn watcher(changed: &Arc<Notify>, wanted: &[Watched]) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error may be an overflow: events were lost, so look.
        if event.as_ref().map_or(true, matters) {
            changed.notify_one();
        }
    })?;
    for folder in wanted {
        let mode =
            if folder.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        watcher.watch(&folder.path, mode)?;
    }
    Ok(watcher)
}

/// Whether a branch or `HEAD` can have moved with this event. Our own reads are events too and must not count.
fn matters(event: &Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.paths.is_empty() || event.paths.iter().any(|path| is_reference(path))
}

fn is_reference(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".lock") {
        return false;
    }
    let within = |folder: &str| path.components().any(|part| part.as_os_str() == folder);
    // The watched folder itself is named when it is moved or deleted.
    let folder = name == ".git" || name.ends_with(".git");
    folder || matches!(name, "HEAD" | "packed-refs") || within("refs") || within("reftable")
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag, ModifyKind, RenameMode};

    use super::*;

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    #[test]
    fn only_references_matter() {
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let create = EventKind::Create(CreateKind::File);
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        for (kind, path, expected) in [
            (rename, "/r/.git/HEAD", true),
            (rename, "/r/.git/packed-refs", true),
            (rename, "/r/.git/refs/heads/a/b", true),
            (rename, "/r/.git/logs/HEAD", true),
            (rename, "/r/.git/index", false),
            (create, "/r/.git/refs/heads/main.lock", false),
            (create, "/r/.git/COMMIT_EDITMSG", false),
            (open, "/r/.git/HEAD", false),
        ] {
            assert_eq!(matters(&event(kind, path)), expected, "{kind:?} {path}");
        }
        assert!(matters(&Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }
}
