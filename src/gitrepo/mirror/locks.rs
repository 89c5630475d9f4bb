//! Lock files that an agent left in the mirror when it was killed while it moved a ref. libgit2 would wait for their
//! owner for ever.

use std::fs;
use std::path::Path;

/// Branches may have slashes in their names; deeper than this nobody nests them.
const MAX_DEPTH: usize = 32;

/// Removes the locks of a mirror that nobody writes to. The caller holds the data directory, so whoever made them is
/// dead. What cannot be removed shows in the fetch that it fails.
pub(super) fn release(mirror: &Path) {
    for name in ["HEAD.lock", "config.lock", "packed-refs.lock"] {
        remove(&mirror.join(name));
    }
    release_refs(&mirror.join("refs"), MAX_DEPTH);
}

fn release_refs(folder: &Path, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // A link is neither a folder nor a lock of ours.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => release_refs(&path, depth - 1),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|end| end == "lock") => {
                remove(&path);
            }
            _ => {}
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {
            tracing::info!(path = %path.display(), "a lock of an agent that was killed is removed")
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a stale lock cannot be removed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_go_and_refs_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let refs = dir.path().join("refs/herder/feature");
        fs::create_dir_all(&refs).expect("folders");
        let locks = [
            dir.path().join("HEAD.lock"),
            refs.join("a.lock"),
            dir.path().join("packed-refs.lock"),
        ];
        let kept = [dir.path().join("HEAD"), refs.join("a")];
        for path in locks.iter().chain(&kept) {
            fs::write(path, "").expect("written");
        }
        release(dir.path());
        assert!(locks.iter().all(|path| !path.exists()));
        assert!(kept.iter().all(|path| path.exists()));
    }
}
