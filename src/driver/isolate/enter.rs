//! Enters a task's surroundings, for the task itself and for commands beside it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, setns};

use super::Isolated;
use super::privileges::{self, User};
use super::program::resolve;
use super::seccomp::Filters;
use crate::shim::{CommandSpec, Failure};

/// A command that enters when it is run, and the account of why it did not.
pub(crate) struct Entrance {
    command: Command,
    account: File,
}

/// The steps of the way in, done in the new process. Everything that is opened on the node is open already.
struct Steps {
    doors: Vec<File>,
    namespaces: Vec<(File, CloneFlags)>,
    cwd: PathBuf,
    user: User,
    capabilities: Vec<String>,
    filters: Filters,
}

impl Entrance {
    /// Prepares a command. `first` is done in the new process before all else.
    pub(crate) fn new(
        spec: &CommandSpec,
        isolated: &Isolated,
        first: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let failed = |doing: &'static str| move |error: io::Error| Failure::system(doing, &error);
        let program = resolve(isolated.holder.pid(), spec)?;
        let user = User::find(&spec.user)?;
        let steps = Steps {
            doors: isolated.cgroup.doors().map_err(failed("open the task's control group"))?,
            namespaces: namespaces(isolated).map_err(failed("find the task's surroundings"))?,
            cwd: spec.cwd.clone(),
            user,
            capabilities: isolated.capabilities.clone(),
            filters: Filters::new().map_err(failed("make the task's seccomp filter"))?,
        };
        let (read, write) = io::pipe().map_err(failed("make a pipe"))?;
        let account = File::from(std::os::fd::OwnedFd::from(read));
        fcntl(&account, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|error| Failure::system("make a pipe", &error.into()))?;
        let tell = File::from(std::os::fd::OwnedFd::from(write));
        let mut command = Command::new(program);
        command.arg0(&spec.command).args(&spec.args).env_clear().envs(&spec.env);
        before(&mut command, move || {
            steps.walk(&first).inspect_err(|error| {
                // Only a number comes back from here otherwise.
                let _ = (&tell).write_all(error.to_string().as_bytes());
            })
        });
        Ok(Self { command, account })
    }

    /// The command, for its standard streams and variables.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Why it was not run, after an attempt.
    pub(crate) fn failure(mut self, spec: &CommandSpec, error: &io::Error) -> Failure {
        let mut text = [0; 1024];
        // The command holds the other end.
        drop(self.command);
        let read = self.account.read(&mut text).unwrap_or(0);
        match text.get(..read).map(String::from_utf8_lossy) {
            Some(told) if !told.is_empty() => {
                Failure { message: format!("the task's surroundings: {told}"), never: false }
            }
            _ => Failure::of_exec(spec, error, true),
        }
    }
}

/// Where the holder is. The process namespace comes first: it holds only for what is forked afterwards, and the file
/// that stands for it is out of sight once the root has changed.
fn namespaces(isolated: &Isolated) -> io::Result<Vec<(File, CloneFlags)>> {
    let dir = PathBuf::from(format!("/proc/{}/ns", isolated.holder.pid()));
    let open = |name: &str, flag| Ok::<_, io::Error>((File::open(dir.join(name))?, flag));
    let found = vec![
        open("ipc", CloneFlags::CLONE_NEWIPC)?,
        open("uts", CloneFlags::CLONE_NEWUTS)?,
        open("net", CloneFlags::CLONE_NEWNET)?,
        // The root and all paths change with it: last.
        open("mnt", CloneFlags::CLONE_NEWNS)?,
    ];
    if isolated.holder.is_there() {
        return Ok(found);
    }
    // What was opened may be another process's of the same number.
    Err(io::Error::other("the process that holds them is gone"))
}

/// Puts the calling process into a task's process namespace, which holds for what it starts from then on.
pub(crate) fn join_processes(isolated: &Isolated) -> io::Result<()> {
    if !isolated.own_processes {
        return Ok(());
    }
    let file = File::open(format!("/proc/{}/ns/pid", isolated.holder.pid()))?;
    if !isolated.holder.is_there() {
        return Err(io::Error::other("the process that holds the task's surroundings is gone"));
    }
    Ok(setns(file, CloneFlags::CLONE_NEWPID)?)
}

impl Steps {
    fn walk(&self, first: &impl Fn() -> io::Result<()>) -> io::Result<()> {
        let on = |doing: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("cannot {doing}: {error}"))
        };
        first().map_err(on("begin a session"))?;
        for door in &self.doors {
            (&*door).write_all(b"0").map_err(on("join the task's control group"))?;
        }
        for (namespace, flag) in &self.namespaces {
            setns(namespace, *flag)
                .map_err(io::Error::from)
                .map_err(on("join the task's namespaces"))?;
        }
        privileges::become_user(&self.user, &self.capabilities)
            .map_err(on("give up privileges"))?;
        // As the task's user, who may be allowed less than the agent.
        std::env::set_current_dir(&self.cwd).map_err(|error| {
            let problem = format!("`work_dir` {} cannot be entered: {error}", self.cwd.display());
            io::Error::new(error.kind(), problem)
        })?;
        self.filters.put_on().map_err(on("put on the seccomp filter"))
    }
}

#[expect(unsafe_code, reason = "pre_exec, in a process of one thread that is small to fork")]
fn before(command: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: commands are only built inside the shim, which has one thread; no lock can be held by another one at the
    // fork, and the closure may allocate.
    unsafe {
        command.pre_exec(work);
    }
}

/// Where a command runs in its own root.
pub(crate) fn work_dir(asked: Option<&Path>) -> PathBuf {
    asked.map_or_else(|| PathBuf::from("/"), |dir| Path::new("/").join(dir))
}
