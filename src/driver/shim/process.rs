//! Processes that are surely the ones meant. A pid alone names nobody: it is reused.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::SHIM_ARG;
use super::record::{MARK, ShimRecord};

/// A process of this boot, told from later ones of the same number by the clock tick at which it started.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub(crate) struct Proc {
    pub(super) pid: i32,
    pub(super) ticks: u64,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) proc: Proc,
    parent: i32,
    session: i32,
    dead: bool,
}

impl Stat {
    /// Reads `/proc/<pid>/stat`. The name in parentheses may hold anything, also parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let pid = head.split(' ').next()?.parse().ok()?;
        let mut fields = tail.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let ticks = fields.nth(15)?.parse().ok()?;
        Some(Self {
            proc: Proc { pid, ticks },
            parent,
            session,
            dead: matches!(state, "Z" | "X" | "x"),
        })
    }

    /// The process of this number; `None` if there is none, an error if that cannot be seen.
    fn read(pid: i32) -> io::Result<Option<Self>> {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Proc {
    /// The process that has this number now.
    pub(crate) fn now(pid: i32) -> Option<Self> {
        Some(Stat::read(pid).ok()??.proc)
    }

    /// Its number.
    pub(crate) const fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it is surely there.
    pub(crate) fn is_there(self) -> bool {
        self.looks_alive().unwrap_or(false)
    }

    /// Whether this very process still runs. One that ended and was not yet collected does not; one that cannot be
    /// looked at counts as running, because an agent without descriptors must not take its tasks for dead.
    pub(super) fn is_alive(self) -> bool {
        self.looks_alive().unwrap_or(true)
    }

    fn looks_alive(self) -> io::Result<bool> {
        Ok(Stat::read(self.pid)?.is_some_and(|stat| stat.proc == self && !stat.dead))
    }

    /// A descriptor that means this process for ever, and becomes readable when it ends. `None` if it has ended.
    pub(super) fn open(self) -> io::Result<Option<OwnedFd>> {
        let fd = match pidfd_open(self.pid) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Looked at after opening: if it is the one now, the descriptor is of no other.
        Ok(self.looks_alive()?.then_some(fd))
    }

    /// Sends a signal to this process alone; whether it was there to get it.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(fd) = self.open()? else { return Ok(false) };
        match pidfd_send_signal(&fd, signal) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to the group that this process leads, while it leads it.
    pub(super) fn signal_group(self, signal: Signal) -> io::Result<bool> {
        let Some(_held) = self.open()? else { return Ok(false) };
        match nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.pid), signal) {
            Ok(()) => Ok(true),
            Err(nix::errno::Errno::ESRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[expect(unsafe_code, reason = "neither std nor nix offers pidfd_open")]
fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[expect(unsafe_code, reason = "neither std nor nix offers pidfd_send_signal")]
fn pidfd_send_signal(fd: &OwnedFd, signal: Signal) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and a null siginfo means what kill(2) sends.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal as i32, no_info, 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// This boot of the machine; start ticks of different boots must not be compared.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// All processes. One that ends while we look is left out; a look that is not whole is an error.
pub(super) fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            found.extend(Stat::read(pid)?);
        }
    }
    Ok(found)
}

fn living() -> io::Result<Vec<Stat>> {
    Ok(all()?.into_iter().filter(|stat| !stat.dead).collect())
}

/// A process's arguments, at most 16 KiB of them.
pub(super) fn arguments(pid: i32) -> Vec<Vec<u8>> {
    strings(pid, "cmdline", 16 * 1024)
}

/// The environment that a process was started with.
pub(super) fn environment(pid: i32) -> BTreeMap<String, String> {
    strings(pid, "environ", super::record::MAX_MESSAGE)
        .into_iter()
        .filter_map(|pair| {
            let pair = String::from_utf8(pair).ok()?;
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn strings(pid: i32, file: &str, limit: u64) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/{file}")) {
        // What cannot be read is as good as not there; nothing is killed on the strength of an absence.
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    bytes.split(|byte| *byte == 0).filter(|s| !s.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The shims of this machine's agents that run as this user, by the state directories that they are called with. A
/// process that only calls itself so is in other surroundings, as a task is, or another user's.
pub(super) fn shims() -> io::Result<BTreeMap<PathBuf, Proc>> {
    let mut found = BTreeMap::new();
    for stat in all()? {
        let arguments = arguments(stat.proc.pid);
        let [_, first, mode, dir] = arguments.as_slice() else { continue };
        if first == SHIM_ARG.as_bytes() && mode == b"run" && is_beside_us(stat.proc.pid) {
            found.insert(PathBuf::from(OsStr::from_bytes(dir)), stat.proc);
        }
    }
    Ok(found)
}

/// Whether a process is this user's, and sees the machine as this one does.
fn is_beside_us(pid: i32) -> bool {
    let of = |who: &str, what: &str| fs::read_link(format!("/proc/{who}/ns/{what}")).ok();
    let pid = pid.to_string();
    let own = fs::metadata(format!("/proc/{pid}"))
        .is_ok_and(|meta| meta.uid() == nix::unistd::Uid::effective().as_raw());
    own && ["pid", "mnt", "user"]
        .iter()
        .all(|kind| of(&pid, kind).is_some_and(|space| Some(space) == of("self", kind)))
}

/// The processes that belong to a run, without its shim.
///
/// While the shim lives it collects the task's orphans, so its descendants are all there are, and surely ours. Without
/// it, they are the task itself and whatever is in its session and carries the run's mark: the number of the session
/// alone could be another's by now.
pub(super) fn members(record: &ShimRecord, state_dir: &Path) -> io::Result<Vec<Proc>> {
    let living = living()?;
    let mut members = match &record.isolated {
        // Nothing leaves its control group, whoever its parent is by now.
        Some(isolated) => {
            let inside = isolated.cgroup.processes()?;
            let processes = living.iter().map(|stat| stat.proc);
            processes.filter(|process| inside.contains(&process.pid)).collect()
        }
        None => Vec::new(),
    };
    if living.iter().any(|stat| stat.proc == record.shim) {
        members.extend(descendants(&living, record.shim.pid));
        return Ok(members);
    }
    let marked = |pid| is_marked(pid, state_dir);
    let ours = |stat: &&Stat| {
        stat.proc == record.task
            || (stat.session == record.task.pid
                && stat.proc.ticks >= record.task.ticks
                && marked(stat.proc.pid))
    };
    members.extend(living.iter().filter(ours).map(|stat| stat.proc));
    Ok(members)
}

/// The living processes of a run, without its shim and what only holds its surroundings.
pub(super) fn family(record: &ShimRecord) -> io::Result<Vec<Proc>> {
    let living = living()?;
    let mut family: Vec<Proc> =
        living.iter().map(|stat| stat.proc).filter(|proc| *proc == record.task).collect();
    family.extend(descendants(&living, record.task.pid));
    Ok(family)
}

fn is_marked(pid: i32, state_dir: &Path) -> bool {
    environment(pid).get(MARK).is_some_and(|mark| Path::new(mark) == state_dir)
}

/// Everything that carries the mark of a task, whichever run of it that was.
pub(super) fn marked(state_dir: &Path) -> io::Result<Vec<Proc>> {
    let living = living()?;
    Ok(living.iter().map(|stat| stat.proc).filter(|proc| is_marked(proc.pid, state_dir)).collect())
}

/// Everything below a process.
fn descendants(living: &[Stat], root: i32) -> Vec<Proc> {
    let mut children: BTreeMap<i32, Vec<Proc>> = BTreeMap::new();
    for stat in living {
        children.entry(stat.parent).or_default().push(stat.proc);
    }
    let (mut found, mut seen, mut todo) = (Vec::new(), BTreeSet::from([root]), vec![root]);
    while let Some(parent) = todo.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(*child);
                todo.push(child.pid);
            }
        }
    }
    found
}

/// The descendants of the calling process.
pub(super) fn own_descendants() -> io::Result<Vec<Proc>> {
    Ok(descendants(&living()?, i32::try_from(std::process::id()).unwrap_or(0)))
}

/// Kills what `members` names until it names nobody or `limit` is over; whether all are gone. Blocks.
pub(super) fn kill_all(
    mut members: impl FnMut() -> io::Result<Vec<Proc>>,
    limit: Duration,
) -> bool {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        // Again and again, because a member may have forked between the look and the kill.
        match members() {
            Ok(found) if found.is_empty() => return true,
            Ok(found) => {
                for member in found {
                    let _ = member.signal(Signal::SIGKILL);
                }
            }
            // Nobody saw that they are gone.
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_whatever_the_name() {
        let text = "42 (a) b (c)) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                proc: Proc { pid: 42, ticks: 98765 },
                parent: 7,
                session: 41,
                dead: false
            })
        );
        assert_eq!(Stat::parse("42 (x) S 7"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = Proc::now(i32::try_from(std::process::id()).expect("fits")).expect("exists");
        assert!(me.is_alive());
        assert!(me.open().expect("opens").is_some());
        let other = Proc { ticks: me.ticks + 1, ..me };
        assert!(!other.is_alive());
        assert!(other.open().expect("opens").is_none());
        assert!(!other.signal(Signal::SIGKILL).expect("sends nothing"));
        assert!(!other.signal_group(Signal::SIGKILL).expect("sends nothing"));
    }

    #[test]
    fn descendants_are_found_through_generations() {
        let stat =
            |pid, parent| Stat { proc: Proc { pid, ticks: 1 }, parent, session: 0, dead: false };
        let living = [stat(2, 1), stat(3, 2), stat(4, 3), stat(5, 1), stat(6, 4)];
        let mut found: Vec<i32> = descendants(&living, 2).into_iter().map(|p| p.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4, 6]);
    }
}
