//! The small process beside each task: it starts the task, keeps its output and remembers its end, agent or no agent.
//!
//! It is the same binary as the agent, called with [`SHIM_ARG`] before anything else is set up and then forked for each
//! task: one thread, no runtime, one buffer. It adopts what the task leaves behind, so that all of it can be found and ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::launch::{self, Failure};
use super::process::{self, Proc};
use super::pump;
use super::record::{CommandSpec, MARK, MAX_MESSAGE, Report, ShimRecord, ShimSpec, StateDir};
use super::zygote;
use crate::cgroup::Hierarchy;
use crate::exit;
use crate::isolate::{self, Entrance, Isolated, Isolation};
use crate::logs::{LogStream, LogWriter};

/// How long a program may be busy that was just written: what its writer forked at that moment holds it open until it
/// becomes another program.
const BUSY_LIMIT: Duration = Duration::from_secs(1);

/// The first argument that makes the binary a shim instead of herder.
pub const SHIM_ARG: &str = "__task-shim";

/// The shim's `main`, with the arguments after [`SHIM_ARG`]. To be called before any thread is started.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let mode = args.next();
    match (mode.as_ref().and_then(|mode| mode.to_str()), args.next()) {
        (Some("run"), Some(dir)) => run(StateDir::at(PathBuf::from(dir))),
        (Some("exec"), None) => exec(),
        (Some(zygote::MODE), Some(_)) => zygote::zygote_main(),
        _ => ExitCode::from(2),
    }
}

/// Becomes a command in a task's surroundings, or stays beside it where those are other processes' than its own.
fn exec() -> ExitCode {
    let read = || read_message().map_err(|error| Failure::system("read the command", &error));
    let done = detach()
        .and_then(|()| no_core_files())
        .map_err(|error| Failure::system("begin a session", &error))
        .and_then(|()| read())
        .and_then(|spec: CommandSpec| match spec.isolated.clone() {
            Some(isolated) => exec_inside(&spec, &isolated),
            None => Err(exec_here(&spec)),
        });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("herder: {}", failure.message);
            ExitCode::from(127)
        }
    }
}

/// Returns only if the command cannot be run.
fn exec_here(spec: &CommandSpec) -> Failure {
    let prepared = launch::command(spec).and_then(|mut command| {
        launch::switch_user(&mut command, &spec.user)?;
        Ok(command)
    });
    match prepared {
        Ok(mut command) => Failure::of_exec(spec, &command.stdin(Stdio::null()).exec(), false),
        Err(failure) => failure,
    }
}

/// The code as shells give it.
fn exec_inside(spec: &CommandSpec, isolated: &Isolated) -> Result<u8, Failure> {
    isolate::join_processes(isolated)
        .map_err(|error| Failure::system("join the task's processes", &error))?;
    let mut entrance = Entrance::new(spec, isolated, || Ok(()))?;
    let spawned = entrance.command().stdin(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| entrance.failure(spec, &error))?;
    let status = child.wait().map_err(|error| Failure::system("wait for the command", &error))?;
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Runs the task that the agent tells it of, in a process that is already called by what `shims` looks for.
pub(super) fn run(state: StateDir) -> ExitCode {
    let started = announce().and_then(|()| prepare()).and_then(|children| {
        let spec: ShimSpec =
            read_message().map_err(|error| Failure::system("read what to run", &error))?;
        start(&spec, &state, children)
    });
    match started {
        Ok((record, pump)) => {
            report(&Report::Started(Box::new(record.clone())));
            // From here on nobody listens, and the agent must not find a pipe of its own kept open.
            if silence().is_err() {
                return ExitCode::FAILURE;
            }
            let status = pump.run(record.isolated.as_ref());
            match state.write_exit(record.shim, status) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(Failure { message, never }) => {
            report(&Report::Failed { message, never });
            ExitCode::FAILURE
        }
    }
}

/// Leaves the agent's session and takes on the care of orphans.
fn prepare() -> Result<SignalFd, Failure> {
    let inner = || -> nix::Result<SignalFd> {
        nix::sys::prctl::set_name(c"herder-shim")?;
        nix::sys::prctl::set_child_subreaper(true)?;
        for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE] {
            set_handler(ignored, SigHandler::SigIgn)?;
        }
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    };
    detach().map_err(|error| Failure::system("begin a session", &error))?;
    inner().map_err(|error| Failure::system("set up the shim", &error.into()))
}

/// A session of its own, at the root directory, with no descriptors but the first three.
pub(super) fn detach() -> io::Result<()> {
    close_inherited();
    std::env::set_current_dir("/")?;
    nix::unistd::setsid()?;
    Ok(())
}

#[expect(unsafe_code, reason = "std offers no way to close what it does not own")]
fn close_inherited() {
    // SAFETY: at this point this process has opened nothing above its three standard descriptors, so nobody's
    // descriptor is closed under them.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32);
    }
}

#[expect(unsafe_code, reason = "changing a signal's disposition is unsafe in nix")]
pub(super) fn set_handler(which: Signal, to: SigHandler) -> nix::Result<()> {
    // SAFETY: only the default and the ignoring disposition are ever set; no handler code runs.
    unsafe { signal(which, to) }.map(|_| ())
}

/// A task's surroundings, taken down if its start comes to nothing.
struct Surroundings(Option<Isolated>);

impl Surroundings {
    fn of(isolation: Option<&Isolation>) -> Result<Self, Failure> {
        let Some(isolation) = isolation else { return Ok(Self(None)) };
        let plan = &isolation.group;
        let trees = Hierarchy::of_this_machine().map_err(Failure::never)?;
        let cgroup = trees
            .create(&plan.parent, &plan.instance, &plan.name, &plan.limits)
            .map_err(|error| Failure::system("make the task's control group", &error))?;
        match isolate::hold(isolation, &cgroup) {
            Ok(holder) => Ok(Self(Some(Isolated {
                holder,
                cgroup,
                own_processes: isolation.own_processes,
                capabilities: isolation.capabilities.clone(),
            }))),
            Err(failure) => {
                let _ = cgroup.remove();
                Err(failure)
            }
        }
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let Some(isolated) = &self.0 else { return };
        process::kill_all(process::own_descendants, super::KILL_LIMIT);
        let _ = isolated.cgroup.remove();
    }
}

/// A command that is ready but for its standard streams.
enum Prepared {
    Here(Command),
    Inside(Entrance),
}

impl Prepared {
    fn new(spec: &CommandSpec, isolated: Option<&Isolated>) -> Result<Self, Failure> {
        let (adjust, cores) = (spec.oom_score_adj, spec.cores.clone());
        let session = move || begin_session(adjust, &cores);
        if let Some(isolated) = isolated {
            return Ok(Self::Inside(Entrance::new(spec, isolated, session)?));
        }
        let mut command = launch::command(spec)?;
        in_new_process(&mut command, session);
        launch::switch_user(&mut command, &spec.user)?;
        Ok(Self::Here(command))
    }

    fn command(&mut self) -> &mut Command {
        match self {
            Self::Here(command) => command,
            Self::Inside(entrance) => entrance.command(),
        }
    }

    fn spawn(mut self, spec: &CommandSpec) -> Result<std::process::Child, Failure> {
        let deadline = Instant::now() + BUSY_LIMIT;
        let spawned = loop {
            match self.command().spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => break other,
            }
        };
        spawned.map_err(|error| match self {
            Self::Here(_) => Failure::of_exec(spec, &error, false),
            Self::Inside(entrance) => entrance.failure(spec, &error),
        })
    }
}

fn start(
    spec: &ShimSpec,
    state: &StateDir,
    children: SignalFd,
) -> Result<(ShimRecord, pump::Pump), Failure> {
    let storing = |error: io::Error| Failure::system("write the task's state", &error);
    state.reserve_exit().map_err(storing)?;
    give_secrets(&spec.command)?;
    let mut surroundings = Surroundings::of(spec.isolation.as_ref())?;
    let mut prepared = Prepared::new(&spec.command, surroundings.0.as_ref())?;
    let command = prepared.command();
    command.env(MARK, state.path()).stdin(Stdio::null());
    let mut streams = Vec::new();
    if spec.log.disabled {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    } else {
        let writers = LogWriter::both(&spec.logs, &spec.task, &spec.log)
            .map_err(|error| Failure { message: error.to_string(), never: false })?;
        for (stream, writer) in writers {
            let pipe = |error: io::Error| Failure::system("make a pipe for the output", &error);
            let (read, write) = io::pipe().map_err(pipe)?;
            match stream {
                LogStream::Stdout => command.stdout(write),
                LogStream::Stderr => command.stderr(write),
            };
            streams.push(pump::Stream::new(OwnedFd::from(read), writer).map_err(pipe)?);
        }
    }
    // The write ends must live in the task alone, or the end of its output would never be seen: they go with the command.
    let child = prepared.spawn(&spec.command)?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let me = Proc::now(i32::try_from(std::process::id()).unwrap_or(0));
    // Not collected yet, so it is in /proc even if it has already ended.
    let (Some(shim), Some(task)) = (me, Proc::now(pid)) else {
        return Err(Failure { message: "/proc cannot be read".into(), never: false });
    };
    let record = ShimRecord {
        task_id: spec.task_id.clone(),
        shim,
        task,
        boot_id: process::boot_id(),
        started_at: exit::now(),
        cwd: spec.command.cwd.clone(),
        task_dir: spec.command.task_dir.clone(),
        user: spec.command.user.clone(),
        driver: spec.driver.clone(),
        isolated: surroundings.0.clone(),
    };
    if let Err(error) = state.write_record(&record) {
        // Without the record no later agent finds the task: better not to have started it.
        let _ = task.signal(Signal::SIGKILL);
        return Err(storing(error));
    }
    surroundings.0 = None;
    Ok((record, pump::Pump::new(pid, children, streams)))
}

/// A crash would write the task's memory, with all its secrets, where it stands, or hand it to whoever the node has
/// named for that. A task that wants it says so itself. One byte, and not none, keeps it from such a program too (core(5)).
fn no_core_files() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, hard.min(1), hard)?)
}

/// Lets the task's user, and nobody else, into what was made for its secrets.
fn give_secrets(spec: &CommandSpec) -> Result<(), Failure> {
    if spec.user.is_empty() || !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let user = launch::user_of(&spec.user)?;
    for name in ["secrets", "private"] {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match nix::fcntl::open(&spec.task_dir.join(name), flags, Mode::empty()) {
            Ok(dir) => nix::unistd::fchown(&dir, Some(user.uid), Some(user.gid))
                .map_err(|error| Failure::system("hand over the task's secrets", &error.into()))?,
            Err(nix::errno::Errno::ENOENT) => {}
            Err(error) => {
                return Err(Failure::system("open the task's secrets", &error.into()));
            }
        }
    }
    Ok(())
}

fn begin_session(oom_score_adj: Option<i32>, cores: &[u16]) -> io::Result<()> {
    nix::unistd::setsid()?;
    for restored in
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE, Signal::SIGCHLD]
    {
        set_handler(restored, SigHandler::SigDfl)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    no_core_files()?;
    if let Some(adjust) = oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", adjust.to_string())?;
    }
    if !cores.is_empty() {
        // Holds where there is no control group for it, and for what the task starts.
        let mut set = CpuSet::new();
        for core in cores {
            set.set(usize::from(*core))?;
        }
        sched_setaffinity(Pid::this(), &set)?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "pre_exec, in a process of one thread that is small to fork")]
fn in_new_process(
    command: &mut Command,
    work: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: this process has one thread, so no lock can be held by another one at the fork, and the closure may
    // allocate and open files.
    unsafe {
        command.pre_exec(work);
    }
}

/// Says who it is. Only now does the agent tell it what to run, so that what may start a task can be found.
fn announce() -> Result<(), Failure> {
    let me = Proc::now(i32::try_from(std::process::id()).unwrap_or(0))
        .ok_or_else(|| Failure { message: "/proc cannot be read".into(), never: false })?;
    let mut line = serde_json::to_vec(&me).unwrap_or_default();
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::system("speak to the agent", &error))
}

fn read_message<T: serde::de::DeserializeOwned>() -> io::Result<T> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_MESSAGE).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Tells the agent. If it is gone by now, the next one reads the record instead.
fn report(report: &Report) {
    if let Ok(bytes) = serde_json::to_vec(report) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(&bytes).and_then(|()| out.flush());
    }
}

/// Lets go of the agent's pipes.
#[expect(
    unsafe_code,
    reason = "nix's safe dup2 wants owned descriptors, which the first three are not"
)]
fn silence() -> io::Result<()> {
    let null = File::options().read(true).write(true).open(Path::new("/dev/null"))?;
    for standard in 0..3 {
        // SAFETY: both descriptors are open; the standard ones are replaced, which std expects to be possible.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
