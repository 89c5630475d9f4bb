//! The process that every shim is forked from.
//!
//! Starting a program of this size makes a megabyte of its pages the new process's own: the loader writes addresses
//! into them. A fork shares them instead, so that a task costs a quarter of that, and starts sooner. The agent itself
//! is never forked: it is large and has threads.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use nix::unistd::ForkResult;

use super::SHIM_ARG;
use super::program::{detach, run, set_handler};
use super::record::StateDir;
use super::title::Title;

/// The second argument of a zygote.
pub(super) const MODE: &str = "zygote";

/// The longest path that the kernel takes, with its end.
const PATH_MAX: usize = 4096;

/// Starts the small processes beside an agent's tasks. Clones share what they start them from.
#[derive(Clone, Debug)]
pub struct Shims {
    program: PathBuf,
    zygote: Arc<Mutex<Option<Zygote>>>,
    /// State directories in which this process is about to have a shim.
    beginning: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// Keeps a state directory from being taken for a leftover while a shim is called for it.
pub(super) struct Begun<'a> {
    shims: &'a Shims,
    dir: &'a Path,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        lock(&self.shims.beginning).remove(self.dir);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Shims {
    /// The running binary itself, also when its file was replaced.
    fn default() -> Self {
        Self::of("/proc/self/exe")
    }
}

/// A shim that has been called to life: it starts its task once it has been told all of what to run.
pub(super) struct Called {
    pub(super) input: io::PipeWriter,
    pub(super) output: io::PipeReader,
}

impl Shims {
    /// `program` is called with [`SHIM_ARG`] as its first argument, and hands over to [`super::shim_main`].
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), zygote: Arc::default(), beginning: Arc::default() }
    }

    /// To be held from before the state directory is made until the shim has written its record.
    pub(super) fn begin<'a>(&'a self, dir: &'a StateDir) -> Begun<'a> {
        lock(&self.beginning).insert(dir.path().to_owned());
        Begun { shims: self, dir: dir.path() }
    }

    /// Removes the state directory of a run that an agent began and did not live to start.
    pub(super) fn remove_unbegun(&self, dir: &StateDir) -> io::Result<()> {
        let beginning = lock(&self.beginning);
        if beginning.contains(dir.path()) || dir.record()?.is_some() {
            return Ok(());
        }
        dir.remove()
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Has a shim forked. Blocks for a moment.
    pub(super) fn call(&self, dir: &StateDir) -> io::Result<Called> {
        let (its_input, input) = io::pipe()?;
        let (output, its_output) = io::pipe()?;
        let streams = [its_input.as_raw_fd(), its_output.as_raw_fd()];
        let mut zygote = lock(&self.zygote);
        let done = match zygote.as_ref().map(|zygote| zygote.ask(dir, &streams)) {
            Some(Ok(())) => return Ok(Called { input, output }),
            // Somebody ended it. What it had not yet forked ends by itself: nobody tells it what to run.
            Some(Err(Errno::EPIPE | Errno::ECONNRESET)) | None => {
                let new = zygote.insert(Zygote::start(&self.program)?);
                new.ask(dir, &streams)
            }
            Some(Err(error)) => Err(error),
        };
        done.map_err(io::Error::from).map(|()| Called { input, output })
    }
}

/// The agent's end of a zygote. Ends it when dropped; what it has forked goes on.
#[derive(Debug)]
struct Zygote {
    socket: OwnedFd,
    process: Child,
}

impl Zygote {
    fn start(program: &Path) -> io::Result<Self> {
        let (socket, its) = socketpair(
            nix::sys::socket::AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let process = Command::new(program)
            .arg0("herder")
            .args([SHIM_ARG, MODE])
            // Where each shim writes what it is for.
            .arg("-".repeat(PATH_MAX))
            .env_clear()
            .stdin(its)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { socket, process })
    }

    fn ask(&self, dir: &StateDir, streams: &[RawFd]) -> nix::Result<()> {
        let path = [IoSlice::new(dir.path().as_os_str().as_bytes())];
        let rights = [ControlMessage::ScmRights(streams)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &path, &rights, flags, None).map(|_| ())
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// The zygote's `main`: forks what it is asked for until the agent is gone.
pub(super) fn zygote_main() -> ExitCode {
    let prepare = || -> io::Result<Title> {
        detach()?;
        nix::sys::prctl::set_name(c"herder-zygote")?;
        for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE] {
            set_handler(ignored, SigHandler::SigIgn)?;
        }
        // The kernel collects what it forks.
        set_handler(Signal::SIGCHLD, SigHandler::SigIgn)?;
        let title = Title::own()?;
        title.write(&[SHIM_ARG, MODE].map(OsStr::new))?;
        Ok(title)
    };
    let Ok(title) = prepare() else { return ExitCode::FAILURE };
    loop {
        match next() {
            Ok(Some((dir, [input, output]))) => match fork() {
                Ok(ForkResult::Child) => return shim(title, dir, input, output),
                // The agent sees it by the end of the output.
                Ok(ForkResult::Parent { .. }) | Err(_) => {}
            },
            Ok(None) => return ExitCode::SUCCESS,
            Err(Errno::EINTR) => {}
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

/// What is asked for next; `None` when there is nobody any more to ask.
fn next() -> nix::Result<Option<(PathBuf, [OwnedFd; 2])>> {
    let mut path = [0; PATH_MAX];
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let mut parts = [IoSliceMut::new(&mut path)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(0, &mut parts, Some(&mut space), flags)?;
    let mut streams = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            streams.extend(descriptors.into_iter().map(owned));
        }
    }
    let length = message.bytes;
    match <[OwnedFd; 2]>::try_from(streams) {
        Ok(streams) => {
            let path = path.get(..length).unwrap_or_default();
            Ok(Some((PathBuf::from(OsStr::from_bytes(path)), streams)))
        }
        Err(_) if length == 0 => Ok(None),
        Err(_) => Err(Errno::EBADMSG),
    }
}

#[expect(unsafe_code, reason = "a received descriptor comes as a number")]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just put it into this process, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[expect(unsafe_code, reason = "a fork is what this process is for")]
fn fork() -> nix::Result<ForkResult> {
    // SAFETY: this process has one thread, so no lock can be held by another one.
    unsafe { nix::unistd::fork() }
}

/// Goes on as a shim in a process that was just forked.
fn shim(title: Title, dir: PathBuf, input: OwnedFd, output: OwnedFd) -> ExitCode {
    let become_shim = || -> io::Result<()> {
        for (standard, stream) in [(0, input.into_raw_fd()), (1, output.into_raw_fd())] {
            replace(standard, stream)?;
        }
        set_handler(Signal::SIGCHLD, SigHandler::SigDfl)?;
        title.write(&[OsStr::new(SHIM_ARG), OsStr::new("run"), dir.as_os_str()])
    };
    match become_shim() {
        // It closes everything but the first three.
        Ok(()) => run(StateDir::at(dir)),
        Err(_) => ExitCode::FAILURE,
    }
}

#[expect(unsafe_code, reason = "nix's safe dup2 wants owned descriptors, which 0 and 1 are not")]
fn replace(standard: RawFd, by: RawFd) -> io::Result<()> {
    // SAFETY: both are open in this process, and nothing has been read from or written to the standard ones.
    if unsafe { libc::dup2(by, standard) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
