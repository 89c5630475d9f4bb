//! The directories of an allocation, made and removed without ever following a symlink: what is inside belongs to tasks,
//! and a task may put anything there.
//!
//! ```text
//! <data_dir>/alloc/<id>/alloc/{logs,data,tmp}        shared
//!                       network/{resolv.conf,hosts,hostname}  of a network of its own
//!                       <task>/{local,secrets,private,tmp}
//! ```

mod beneath;
mod memory;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use driver::{TaskDirs, TaskRoot};
use model::AllocId;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

pub(crate) use beneath::Access;

/// The longest task name that becomes a directory.
const MAX_NAME: usize = 128;

/// How a directory is called that is about to be there. No task is called so.
const MAKING: &str = ".making-";

/// A directory could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The name would leave the allocation's directory or clash with one of ours.
    #[error("`{0}` cannot name a task's directory; use letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// Something is in the way that is no directory, such as a symlink.
    #[error("{path} is not a directory (a symlink is not followed); move it away")]
    NotADirectory {
        /// Where.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {act} {path}: {source}")]
    System {
        /// What was tried.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// What a task's directories have to be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// What the task sees as `/`.
    pub root: TaskRoot,
    /// Whether no task of the group walks the node's own way to its directories.
    pub closed: bool,
    /// Whether the task runs as another user than the agent.
    pub other_user: bool,
    /// Megabytes for `secrets`; 0 for the default.
    pub secrets_mb: u64,
}

/// Where allocations live.
#[derive(Clone, Debug)]
pub(crate) struct Dirs {
    base: PathBuf,
    /// What drivers keep, beyond the reach of tasks.
    states: PathBuf,
    /// Whether secrets are kept in memory.
    in_memory: bool,
}

impl Dirs {
    pub(crate) fn new(data_dir: &Path, in_memory: bool) -> Self {
        let base = data_dir.join("alloc");
        // What an agent was making when it died. Nobody makes anything yet.
        for left in std::fs::read_dir(&base).into_iter().flatten().flatten() {
            if left.file_name().as_bytes().starts_with(MAKING.as_bytes()) {
                let _ = std::fs::remove_dir(left.path());
            }
        }
        Self { base, states: data_dir.join("client/shim"), in_memory }
    }

    /// Where an allocation's logs are.
    pub(crate) fn logs(&self, alloc: AllocId) -> PathBuf {
        self.base.join(alloc.to_string()).join("alloc/logs")
    }

    /// The allocations that have a directory; none if that cannot be seen. Blocks on the disk.
    pub(crate) fn all(&self) -> Vec<AllocId> {
        let Ok(entries) = std::fs::read_dir(&self.base) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// Opens a directory of an allocation, following no symlink on the way: what is named lies one in the other.
    pub(crate) fn enter(&self, alloc: AllocId, names: &[&str]) -> Result<Place, DirError> {
        let mut place = Place::open(&self.base)?.enter(&alloc.to_string())?;
        for name in names {
            place = place.enter(*name)?;
        }
        Ok(place)
    }

    /// The paths of a task, whether or not they are there.
    pub(crate) fn of_task(&self, alloc: AllocId, task: &str) -> TaskDirs {
        let root = self.base.join(alloc.to_string());
        let task_dir = root.join(task);
        TaskDirs {
            alloc_dir: root.join("alloc"),
            local: task_dir.join("local"),
            secrets: task_dir.join("secrets"),
            logs: root.join("alloc/logs"),
            state: self.states.join(alloc.to_string()).join(task),
            task_dir,
        }
    }

    /// Makes the shared directories and those of a task; what is there already is kept. Blocks on the disk.
    pub(crate) fn make(
        &self,
        alloc: AllocId,
        task: &str,
        room: Room,
    ) -> Result<TaskDirs, DirError> {
        check_name(task)?;
        std::fs::create_dir_all(&self.base).map_err(|error| DirError::System {
            act: "make",
            path: self.base.clone(),
            source: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        })?;
        let base = Place::open(&self.base)?;
        // Those who may look up one allocation's files by its id need not be able to list all of them.
        base.mode(0o711)?;
        let root = base.child(&alloc.to_string(), if room.closed { 0o700 } else { 0o711 })?;
        let shared = root.child("alloc", 0o755)?;
        shared.child("logs", 0o755)?;
        // Tasks run as whatever user their job names, so these are open to all within the allocation.
        shared.child("data", 0o777)?;
        shared.child("tmp", 0o1777)?;
        let own = root.child(task, 0o755)?;
        // What is in it but the task's own is somebody else's to rename or remove.
        own.mode(match room.root {
            TaskRoot::Node if !room.other_user => 0o755,
            TaskRoot::Node | TaskRoot::TaskDir => 0o1777,
            TaskRoot::Image => 0o700,
        })?;
        own.child("local", 0o777)?;
        own.child("tmp", 0o1777)?;
        let mode = if room.root == TaskRoot::Image { 0o777 } else { 0o700 };
        for (name, megabytes) in [("secrets", room.secrets_mb), ("private", 0)] {
            let made = own.child(name, 0o700)?;
            if self.in_memory {
                memory::mount(&own, name, mode, megabytes)?;
            } else {
                made.mode(mode)?;
            }
        }
        Ok(self.of_task(alloc, task))
    }

    /// Writes a file of the allocation's network: `<id>/network/<name>`. Blocks on the disk.
    pub(crate) fn write_network_file(
        &self,
        alloc: AllocId,
        name: &str,
        text: &str,
    ) -> Result<(), DirError> {
        let folder = Place::open(&self.base)?.enter(&alloc.to_string())?.child("network", 0o755)?;
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC;
        let path = folder.path.join(name);
        let file = openat(&folder.fd, name, flags, Mode::from_bits_truncate(0o644))
            .map_err(|errno| failed("write", path.clone(), errno))?;
        let written = std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes());
        written.map_err(|error| {
            failed("write", path, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
        })
    }

    /// Removes everything of an allocation; what is gone already is fine. Blocks on the disk.
    ///
    /// A task can nest directories deeper than any stack or path is long. So each directory that is found is moved up to
    /// the root first: the depth is never more than one.
    pub(crate) fn remove(&self, alloc: AllocId) -> Result<(), DirError> {
        let name = alloc.to_string();
        let base = match Place::open(&self.base) {
            Err(DirError::System { source: Errno::ENOENT, .. }) => return Ok(()),
            other => other?,
        };
        let root = match base.enter(&name) {
            Ok(root) => root,
            Err(DirError::System { source: Errno::ENOENT, .. }) => return Ok(()),
            Err(DirError::NotADirectory { .. }) => return base.unlink(&name, false),
            Err(other) => return Err(other),
        };
        let mut counter: u64 = 0;
        loop {
            let mut emptied = true;
            for (child, is_dir) in root.entries()? {
                emptied = false;
                if !is_dir {
                    root.unlink(&child, false)?;
                    continue;
                }
                memory::unmount(&root, &child)?;
                let inner = root.enter(&child)?;
                inner.mode(0o700)?;
                for (grandchild, is_dir) in inner.entries()? {
                    if is_dir {
                        memory::unmount(&inner, &grandchild)?;
                        // A directory that may not be written to cannot be moved.
                        inner.enter(&grandchild)?.mode(0o700)?;
                        let place = loop {
                            counter += 1;
                            let place = format!(".removed-{counter}");
                            match inner.move_to(&grandchild, &root, &place) {
                                Err(DirError::System {
                                    source: Errno::EEXIST | Errno::ENOTEMPTY,
                                    ..
                                }) => {}
                                other => break other,
                            }
                        };
                        place?;
                    } else {
                        inner.unlink(&grandchild, false)?;
                    }
                }
                root.unlink(&child, true)?;
            }
            if emptied {
                return base.unlink(&name, true);
            }
        }
    }
}

/// Whether a task's name can be a directory beside `alloc/`.
fn check_name(name: &str) -> Result<(), DirError> {
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '+' | '@' | ':');
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && name != "alloc"
        && !name.starts_with('.')
        && name.chars().all(plain);
    if good { Ok(()) } else { Err(DirError::Name(name.to_owned())) }
}

/// An open directory, and what to call it in an error.
pub(crate) struct Place {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

const OPEN: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

impl Place {
    fn open(path: &Path) -> Result<Self, DirError> {
        let fd = openat(AT_FDCWD, path, OPEN, Mode::empty())
            .map_err(|errno| failed("open", path.to_owned(), errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    pub(crate) fn enter<N: AsRef<OsStr> + ?Sized>(&self, name: &N) -> Result<Self, DirError> {
        let name = name.as_ref();
        let path = self.path.join(name);
        match openat(&self.fd, name, OPEN, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(failed("open", path, errno)),
        }
    }

    /// The directory of this name, made if it is not there. It appears with its mode: an agent that is killed between
    /// the two would leave one that its tasks cannot use, and nobody could tell it from one that a task has closed.
    pub(crate) fn child(&self, name: &str, mode: u32) -> Result<Self, DirError> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        match self.enter(name) {
            Err(DirError::System { source: Errno::ENOENT, .. }) => {}
            // Its mode may be what a task made of it.
            other => return other,
        }
        let making = loop {
            let making = format!("{MAKING}{name}-{}", MADE.fetch_add(1, Ordering::Relaxed));
            match mkdirat(&self.fd, making.as_str(), Mode::S_IRWXU) {
                Ok(()) => break making,
                // An agent before this one left it.
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed("make", self.path.join(name), errno)),
            }
        };
        let made = self.enter(making.as_str())?;
        made.mode(mode)?;
        let flags = RenameFlags::RENAME_NOREPLACE;
        match renameat2(&self.fd, making.as_str(), &self.fd, name, flags) {
            // Made for another task of the group meanwhile.
            Err(Errno::EEXIST) => self.unlink(making.as_str(), true)?,
            Err(errno) => return Err(failed("make", self.path.join(name), errno)),
            Ok(()) => {}
        }
        self.enter(name)
    }

    fn mode(&self, mode: u32) -> Result<(), DirError> {
        fchmod(self.fd.as_fd(), Mode::from_bits_truncate(mode))
            .map_err(|errno| failed("set the mode of", self.path.clone(), errno))
    }

    pub(crate) fn unlink<N: AsRef<OsStr> + ?Sized>(
        &self,
        name: &N,
        directory: bool,
    ) -> Result<(), DirError> {
        let name = name.as_ref();
        let flag = if directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        match unlinkat(&self.fd, name, flag) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("remove", self.path.join(name), errno)),
        }
    }

    pub(crate) fn move_to(&self, name: &OsStr, to: &Self, new: &str) -> Result<(), DirError> {
        renameat(&self.fd, name, &to.fd, new)
            .map_err(|errno| failed("move", self.path.join(name), errno))
    }

    /// Names, and whether each is a directory.
    pub(crate) fn entries(&self) -> Result<Vec<(OsString, bool)>, DirError> {
        self.first_entries(usize::MAX)
    }

    /// The same, and no more than `most`.
    pub(crate) fn first_entries(&self, most: usize) -> Result<Vec<(OsString, bool)>, DirError> {
        let mut dir = Dir::openat(&self.fd, ".", OPEN, Mode::empty())
            .map_err(|errno| failed("list", self.path.clone(), errno))?;
        let mut names = Vec::new();
        for entry in dir.iter().take(most.saturating_add(2)) {
            let entry = entry.map_err(|errno| failed("list", self.path.clone(), errno))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let is_dir = match entry.file_type() {
                Some(kind) => kind == Type::Directory,
                None => openat(&self.fd, name, OPEN, Mode::empty()).is_ok(),
            };
            names.push((OsStr::from_bytes(name.to_bytes()).to_owned(), is_dir));
        }
        Ok(names)
    }
}

fn failed(act: &'static str, path: PathBuf, source: Errno) -> DirError {
    match source {
        Errno::ENOTDIR | Errno::ELOOP => DirError::NotADirectory { path },
        source => DirError::System { act, path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn alloc() -> AllocId {
        AllocId::new(model::seeded_uuid(&[b"dirs"]))
    }

    #[test]
    fn makes_nomads_layout_with_closed_secrets() {
        let data = tempfile::tempdir().expect("a directory");
        let dirs = Dirs::new(data.path(), false);
        let made = dirs.make(alloc(), "web", Room::default()).expect("directories");
        dirs.make(alloc(), "web", Room::default()).expect("a second time");
        let mode = |path: &Path| path.metadata().expect("is there").permissions().mode() & 0o7777;
        assert_eq!(mode(&made.secrets), 0o700);
        assert_eq!(mode(&made.task_dir.join("private")), 0o700);
        assert_eq!(mode(&made.local), 0o777);
        assert_eq!(mode(&made.alloc_dir.join("tmp")), 0o1777);
        assert!(made.logs.is_dir() && made.alloc_dir.join("data").is_dir());
        assert_eq!(dirs.logs(alloc()), made.logs);
    }

    #[test]
    fn a_directory_is_never_seen_without_its_mode() {
        let data = tempfile::tempdir().expect("a directory");
        let dirs = Dirs::new(data.path(), false);
        let made = std::sync::atomic::AtomicBool::new(false);
        let round = AtomicU64::new(0);
        let id = |round: u64| AllocId::new(model::seeded_uuid(&[&round.to_be_bytes()]));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !made.load(Ordering::Relaxed) {
                    let alloc = id(round.load(Ordering::Relaxed));
                    let shared = dirs.of_task(alloc, "a").alloc_dir.join("data");
                    if let Ok(meta) = shared.metadata() {
                        assert_eq!(meta.permissions().mode() & 0o7777, 0o777);
                    }
                }
            });
            // The tasks of a group are made ready at the same time.
            for now in 0..300 {
                round.store(now, Ordering::Relaxed);
                let tasks = ["a", "b", "c"].map(|task| {
                    let dirs = dirs.clone();
                    scope.spawn(move || dirs.make(id(now), task, Room::default()))
                });
                for task in tasks {
                    task.join().expect("ends").expect("directories");
                }
            }
            made.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn what_an_agent_was_making_when_it_died_is_in_nobodys_way() {
        let data = tempfile::tempdir().expect("a directory");
        let base = data.path().join("alloc");
        let left = [".making-data-0", ".making-x-7"].map(|name| base.join(name));
        for dir in &left {
            std::fs::create_dir_all(dir).expect("made");
        }
        let dirs = Dirs::new(data.path(), false);
        assert!(left.iter().all(|dir| !dir.exists()));
        dirs.make(alloc(), "web", Room::default()).expect("directories");
    }

    #[test]
    fn names_cannot_escape() {
        let data = tempfile::tempdir().expect("a directory");
        let dirs = Dirs::new(data.path(), false);
        for name in ["", ".", "..", "../x", "a/b", "alloc", "a\0b", ".hidden", &"x".repeat(200)] {
            assert!(
                matches!(dirs.make(alloc(), name, Room::default()), Err(DirError::Name(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn symlinks_are_not_followed() {
        let data = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        let kept = outside.path().join("kept");
        std::fs::write(&kept, "x").expect("a file");
        let dirs = Dirs::new(data.path(), false);
        let made = dirs.make(alloc(), "web", Room::default()).expect("directories");
        // A task replaced its directory by a way out.
        std::fs::remove_dir_all(&made.local).expect("removed");
        symlink(outside.path(), &made.local).expect("a link");
        let error = dirs.make(alloc(), "web", Room::default()).expect_err("refused");
        assert!(matches!(error, DirError::NotADirectory { .. }), "{error}");
        symlink("/", made.task_dir.join("root")).expect("a link");
        dirs.remove(alloc()).expect("removed");
        assert!(kept.exists(), "what a link pointed to is not touched");
        assert!(!made.task_dir.exists());
        dirs.remove(alloc()).expect("removing what is gone is fine");
    }

    #[test]
    fn a_link_in_place_of_the_allocation_is_removed_alone() {
        let data = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(data.path().join("alloc")).expect("a directory");
        let link = data.path().join("alloc").join(alloc().to_string());
        symlink(outside.path(), &link).expect("a link");
        Dirs::new(data.path(), false).remove(alloc()).expect("removed");
        assert!(outside.path().exists() && link.symlink_metadata().is_err());
    }

    #[test]
    fn depth_does_not_matter() {
        let data = tempfile::tempdir().expect("a directory");
        let dirs = Dirs::new(data.path(), false);
        let made = dirs.make(alloc(), "web", Room::default()).expect("directories");
        let mut place = Place::open(&made.local).expect("open");
        for depth in 0..3000 {
            let child = place.child("d", if depth % 100 == 0 { 0o500 } else { 0o755 });
            // Without privileges a closed directory takes no child.
            let Ok(child) = child else { break };
            place = child;
        }
        dirs.remove(alloc()).expect("removed");
        assert!(!made.task_dir.exists());
    }
}
