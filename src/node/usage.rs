//! How full the disk is, and how much of it an allocation has filled. A directory is measured with bounds, because a
//! task may have put anything into it, and never through a symlink or into another file system.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use model::AllocId;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstat, fstatat};

use crate::dirs::{DirError, Place};
use crate::orders::Order;
use crate::runner::Shared;

/// Files and directories that are counted of one allocation; what is more is not.
const MAX_ENTRIES: usize = 100_000;

/// Directories within each other that are counted.
const MAX_DEPTH: usize = 64;

/// The file system that allocations lie on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes that there are for everybody.
    pub total: u64,
    /// Bytes in use.
    pub used: u64,
    /// Inodes; 0 where the file system does not count them.
    pub inodes: u64,
    /// Inodes in use.
    pub inodes_used: u64,
}

impl DiskUse {
    /// Percent of the space in use, from 0 to 100.
    pub fn space_percent(&self) -> f64 {
        percent(self.used, self.total)
    }

    /// Percent of the inodes in use, from 0 to 100.
    pub fn inode_percent(&self) -> f64 {
        percent(self.inodes_used, self.inodes)
    }
}

fn percent(used: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { used as f64 / total as f64 * 100.0 }
}

/// Looks at the file system of a directory, or of its nearest parent; all zero if that cannot be seen. Blocks.
pub fn disk_use(path: &Path) -> DiskUse {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let Ok(stat) = nix::sys::statvfs::statvfs(there) else { return DiskUse::default() };
    let block = stat.fragment_size();
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    DiskUse {
        // What only root may use is nobody's.
        total: used.saturating_add(stat.blocks_available()).saturating_mul(block),
        used: used.saturating_mul(block),
        inodes: stat.files(),
        inodes_used: stat.files().saturating_sub(stat.files_free()),
    }
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Bytes that its files take on the disk.
    pub bytes: u64,
    /// Whether everything was counted.
    pub whole: bool,
}

/// Measures a directory. Blocks on the disk.
pub(crate) fn measure(root: Place) -> Result<Measured, DirError> {
    let device = fstat(&root.fd).map(|stat| stat.st_dev).unwrap_or_default();
    let mut measured = Measured { bytes: 0, whole: true };
    let (mut entries, mut linked) = (0, BTreeSet::new());
    // Open directories on the way down, each with what is left to look at.
    let first = root.first_entries(MAX_ENTRIES + 1)?;
    let mut way = vec![(root, first)];
    while let Some((place, left)) = way.last_mut() {
        let Some((name, is_dir)) = left.pop() else {
            way.pop();
            continue;
        };
        entries += 1;
        if entries > MAX_ENTRIES {
            measured.whole = false;
            break;
        }
        let Ok(stat) = fstatat(&place.fd, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue;
        };
        if stat.st_dev != device || !(stat.st_nlink < 2 || is_dir || linked.insert(stat.st_ino)) {
            continue;
        }
        measured.bytes = measured.bytes.saturating_add(size(&stat));
        if !is_dir {
            continue;
        }
        if way.len() >= MAX_DEPTH {
            measured.whole = false;
            continue;
        }
        // It may be gone, or be something else by now.
        let Some((place, _)) = way.last() else { break };
        if let Ok(inner) = place.enter(&name)
            && let Ok(names) = inner.first_entries(MAX_ENTRIES + 1 - entries)
        {
            way.push((inner, names));
        }
    }
    Ok(measured)
}

fn size(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512)
}

/// Measures what runs and says where a disk holds more than its group asked for. Nothing is done about it: the size is
/// what placement counts, as in Nomad.
pub(crate) async fn look(shared: &Arc<Shared>) {
    let mut told = BTreeSet::new();
    for (alloc, known) in shared.ledger.all() {
        if known.over || known.disk_mb == 0 {
            continue;
        }
        let dirs = shared.dirs.clone();
        let measuring = tokio::task::spawn_blocking(move || measure(dirs.enter(alloc, &[])?));
        let Ok(Ok(measured)) = measuring.await else { continue };
        let full = measured.bytes > known.disk_mb.saturating_mul(1 << 20);
        if full {
            told.insert(alloc);
        }
        if full && !shared.overfull().contains(&alloc) {
            tell(shared, alloc, measured, known.disk_mb);
        }
    }
    *shared.overfull() = told;
}

fn tell(shared: &Shared, alloc: AllocId, measured: Measured, limit: u64) {
    let more = if measured.whole { "" } else { " or more" };
    let message = format!(
        "The allocation's directory holds {} MB{more}, and its group asks for {limit} MB (ephemeral_disk.size)",
        measured.bytes >> 20
    );
    tracing::warn!(%alloc, "{message}");
    if let Some(orders) = shared.ledger.orders(alloc) {
        let _ = orders.try_send(Order::Tell { kind: "Disk Resources Exceeded", message });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::dirs::Dirs;

    #[test]
    fn hostile_trees_are_counted_with_bounds() {
        let data = tempfile::tempdir().expect("a directory");
        let dirs = Dirs::new(data.path(), false);
        let made = dirs
            .make(AllocId::default(), "web", crate::dirs::Room::default())
            .expect("directories");
        let count =
            || measure(dirs.enter(AllocId::default(), &[]).expect("open")).expect("counted");
        let empty = count();
        assert!(empty.whole);
        std::fs::write(made.local.join("a"), vec![1; 1 << 20]).expect("a file");
        std::fs::hard_link(made.local.join("a"), made.local.join("b")).expect("a link");
        symlink("/", made.local.join("root")).expect("a link");
        symlink(".", made.local.join("again")).expect("a link");
        let full = count();
        assert!(full.whole && full.bytes - empty.bytes >= 1 << 20);
        assert!(full.bytes - empty.bytes < 3 << 19, "a file with two names counts once");
        let mut deep = dirs.enter(AllocId::default(), &["web", "local"]).expect("open");
        for _ in 0..200 {
            deep = deep.child("d", 0o755).expect("a directory");
        }
        assert!(!count().whole);
        dirs.remove(AllocId::default()).expect("removed");
    }

    #[test]
    fn this_disk_has_a_size() {
        let disk = disk_use(Path::new("/nowhere/to/be/found"));
        assert!(disk.total > 0 && (0.0..=100.0).contains(&disk.space_percent()));
        assert_eq!(DiskUse::default().inode_percent(), 0.0);
    }
}
