//! The process that holds a task's namespaces: the first of them, and the one that collects what loses its parent.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::{Isolation, privileges, root};
use crate::cgroup::Cgroup;
use crate::shim::{Failure, Proc};

/// How long the surroundings may take to be made.
const LIMIT: Duration = Duration::from_secs(15);

/// How often a holder without a shim looks whether anything is left.
const LOOK: Duration = Duration::from_millis(250);

/// The longest account of why they were not.
const MAX_ACCOUNT: u64 = 4096;

/// Makes a task's surroundings. From here on, what this process starts is in the task's process namespace, if it has its
/// own. To be called once, in a process of one thread.
pub(crate) fn hold(isolation: &Isolation, cgroup: &Cgroup) -> Result<Proc, Failure> {
    let failed = |doing: &str, error: nix::Error| Failure::system(doing, &error.into());
    let piped = |error: io::Error| Failure::system("make a pipe", &error);
    let (read, write) = io::pipe().map_err(piped)?;
    if isolation.own_processes {
        unshare(CloneFlags::CLONE_NEWPID)
            .map_err(|error| failed("make a process namespace", error))?;
    }
    match split().map_err(|error| failed("fork", error))? {
        ForkResult::Child => {
            drop(read);
            become_holder(isolation, cgroup, File::from(OwnedFd::from(write)))
        }
        ForkResult::Parent { child } => {
            drop(write);
            let holder = Proc::now(child.as_raw());
            match (account(&File::from(OwnedFd::from(read)))?, holder) {
                (None, Some(holder)) => Ok(holder),
                (None, None) => Err(Failure {
                    message: "the task's surroundings broke down".into(),
                    never: false,
                }),
                (Some(failure), holder) => {
                    if let Some(holder) = holder {
                        let _ = holder.signal(Signal::SIGKILL);
                    }
                    let _ = waitpid(child, None);
                    Err(failure)
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "a fork, in a process of one thread")]
fn split() -> nix::Result<ForkResult> {
    // SAFETY: the shim has one thread, so no lock is held by another one at the fork.
    unsafe { fork() }
}

/// Waits for the holder to be done. `None` when all is well.
fn account(pipe: &File) -> Result<Option<Failure>, Failure> {
    let deadline = Instant::now() + LIMIT;
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(nix::Error::EINTR) => continue,
            Ok(0) => {
                let message =
                    format!("the task's surroundings took longer than {} s", LIMIT.as_secs());
                return Ok(Some(Failure { message, never: false }));
            }
            Ok(_) | Err(_) => {}
        }
        let mut piece = [0; 512];
        let read = pipe
            .take(MAX_ACCOUNT)
            .read(&mut piece)
            .map_err(|error| Failure::system("hear of the task's surroundings", &error))?;
        text.extend_from_slice(piece.get(..read).unwrap_or_default());
        if read == 0 {
            let message = String::from_utf8_lossy(&text).into_owned();
            // It says `ok` before it closes the pipe; one that died said nothing.
            return Ok(match message.as_str() {
                "ok" => None,
                "" => Some(Failure {
                    message: "the task's surroundings broke down".into(),
                    never: false,
                }),
                _ => Some(Failure { message, never: false }),
            });
        }
        if text.len() as u64 > MAX_ACCOUNT {
            return Err(Failure { message: "an account without an end".into(), never: false });
        }
    }
}

fn become_holder(isolation: &Isolation, cgroup: &Cgroup, mut tell: File) -> ! {
    // The shim's pipes to the agent and to the task must not stay open because of this process.
    let done = alone(&tell).and_then(|()| set_up(isolation, cgroup));
    match done {
        Ok(()) => {
            // From here on the end of the shim is heard of; if it is gone already, nobody reads this.
            let heard = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).is_ok();
            if !heard || tell.write_all(b"ok").is_err() {
                std::process::exit(1)
            }
            drop(tell);
            collect(isolation.own_processes)
        }
        Err(failure) => {
            let _ = tell.write_all(failure.message.as_bytes());
            drop(tell);
            std::process::exit(1)
        }
    }
}

/// Keeps no descriptor but the one given.
#[expect(unsafe_code, reason = "std offers no way to close or replace what it does not own")]
fn alone(keep: &File) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::system("let go of what is open", &error);
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let keep = keep.as_raw_fd().unsigned_abs();
    // SAFETY: this process only ever uses the descriptor that is kept and the three standard ones, which are replaced by
    // ones that are open.
    unsafe {
        for standard in 0..3 {
            if libc::dup2(null.as_raw_fd(), standard) < 0 {
                return Err(failed(io::Error::last_os_error()));
            }
        }
        std::mem::forget(null);
        if keep > 3 {
            libc::syscall(libc::SYS_close_range, 3u32, keep - 1, 0u32);
        }
        libc::syscall(libc::SYS_close_range, keep + 1, u32::MAX, 0u32);
    }
    Ok(())
}

fn set_up(isolation: &Isolation, cgroup: &Cgroup) -> Result<(), Failure> {
    let failed = |doing: &str, error: nix::Error| Failure::system(doing, &error.into());
    let _ = nix::sys::prctl::set_name(c"herder-hold");
    let _ = shim();
    nix::unistd::setsid().map_err(|error| failed("begin a session", error))?;
    let doors =
        cgroup.doors().map_err(|error| Failure::system("open the task's control group", &error))?;
    for mut door in doors {
        door.write_all(b"0")
            .map_err(|error| Failure::system("join the task's control group", &error))?;
    }
    // When the task's memory runs out, it is not this process that is in the way.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    if let Some(network) = &isolation.network {
        let namespace = File::open(network)
            .map_err(|error| Failure::system("open the group's network", &error))?;
        setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|error| failed("join the group's network", error))?;
    }
    let mut own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    if isolation.own_ipc {
        own |= CloneFlags::CLONE_NEWIPC;
    }
    unshare(own).map_err(|error| failed("make the task's namespaces", error))?;
    if !isolation.hostname.is_empty() {
        nix::unistd::sethostname(&isolation.hostname)
            .map_err(|error| failed("set the task's host name", error))?;
    }
    root::build(isolation)?;
    privileges::give_up_all().map_err(|error| Failure::system("give up privileges", &error))
}

/// Waits for orphans until neither the shim nor anything inside is left. The shim, or whoever ends the control group, may
/// end this process before.
fn collect(own_processes: bool) -> ! {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.add(Signal::SIGTERM);
    // Blocked from before the first look on, so that no signal is lost between the look and the wait.
    let _ = mask.thread_block();
    let mut shim_is_gone = false;
    loop {
        while let Ok(status) = waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        if shim_is_gone && !(own_processes && others_are_left()) {
            std::process::exit(0)
        }
        if shim_is_gone {
            // Who was the shim's child is not this one's: nobody tells of its end.
            std::thread::sleep(LOOK);
        } else {
            shim_is_gone = is_from_the_shim(&mask);
        }
    }
}

/// Waits for a signal; whether it is the one that the kernel sends in the name of a shim that has ended. Those of the task
/// come from a process that has a number here.
#[expect(unsafe_code, reason = "nix does not tell who sent a signal")]
fn is_from_the_shim(mask: &SigSet) -> bool {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: both point to what they have to for the time of the call, which fills the second.
    let number = unsafe { libc::sigwaitinfo(mask.as_ref(), info.as_mut_ptr()) };
    // SAFETY: all zeros is a valid value, and the call has written nothing else than valid ones.
    let sender = unsafe { info.assume_init().si_pid() };
    number == Signal::SIGTERM as i32 && (sender == 0 || Some(Pid::from_raw(sender)) == shim())
}

/// The shim, where it can be seen: not from within a process namespace.
fn shim() -> Option<Pid> {
    static SHIM: std::sync::OnceLock<Pid> = std::sync::OnceLock::new();
    Some(*SHIM.get_or_init(nix::unistd::getppid)).filter(|pid| pid.as_raw() > 0)
}

/// Whether anything lives in this process namespace but its first process, by its own `/proc`.
fn others_are_left() -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != 1)
        .any(|pid| Proc::now(pid).is_some_and(Proc::is_there))
}
