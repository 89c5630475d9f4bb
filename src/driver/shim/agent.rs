//! The agent's side of a shim: starting it and waiting for it.

use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::KILL_LIMIT;
use super::process::{self, Proc};
use super::processes::Run;
use super::record::{MAX_MESSAGE, Report, ShimRecord, ShimSpec, StateDir};
use super::zygote::{Called, Shims};
use crate::{DriverError, ExitStatus};

/// How long a shim may take to start its task. Generous, for a machine that is short of everything.
pub(super) const START_LIMIT: Duration = Duration::from_secs(20);

/// How often a process is looked at where the kernel cannot tell us of its end.
const POLL: Duration = Duration::from_millis(200);

/// Calls a shim and has it start the task. Blocks, for no longer than [`START_LIMIT`] and what a leftover takes to end.
pub(super) fn start(
    shims: &Shims,
    dir: &StateDir,
    spec: &ShimSpec,
) -> Result<ShimRecord, DriverError> {
    let message = serde_json::to_vec(spec)
        .map_err(|error| DriverError::failed("write down the task", error))?;
    if message.len() as u64 >= MAX_MESSAGE {
        return Err(DriverError::StartNever(
            "the task's arguments and environment are longer than 4 MiB".to_owned(),
        ));
    }
    let _begun = shims.begin(dir);
    end_leftover(dir, &spec.task_id)?;
    let called = shims.call(dir).map_err(|error| {
        DriverError::failed(format!("start the task's shim {}", shims.program().display()), error)
    })?;
    let mut shim = None;
    match converse(called, &message, &mut shim) {
        Ok(Report::Started(record)) => Ok(*record),
        Ok(Report::Failed { message, never: true }) => Err(DriverError::StartNever(message)),
        Ok(Report::Failed { message, never: false }) => Err(DriverError::Start(message)),
        Err(problem) => {
            // It may have started the task all the same, with or without having written that down. One that never said
            // who it is was told nothing, and ends.
            let _ = end_leftover(dir, &spec.task_id);
            let rest = || {
                let shim = shim.into_iter().filter(|shim: &Proc| shim.is_alive());
                Ok(shim.chain(process::marked(dir.path())?).collect())
            };
            process::kill_all(rest, KILL_LIMIT);
            Err(DriverError::failed("talk to the task's shim", problem))
        }
    }
}

/// Ends what an agent started and did not live to remember, so that no task runs twice.
fn end_leftover(dir: &StateDir, task_id: &str) -> Result<(), DriverError> {
    let failed = |error| DriverError::failed(format!("prepare {}", dir.path().display()), error);
    dir.create().map_err(failed)?;
    let record = dir.record().map_err(failed)?;
    if let Some(record) = record.filter(|record| record.boot_id == process::boot_id()) {
        let shim_ended = || {
            let shim = [record.shim].into_iter().filter(|shim| shim.is_alive());
            Ok(shim.chain(process::members(&record, dir.path())?).collect())
        };
        // The task first: its shim then ends by itself, with the end written down.
        let gone = process::kill_all(|| process::members(&record, dir.path()), KILL_LIMIT)
            && process::kill_all(shim_ended, KILL_LIMIT);
        if !gone {
            return Err(DriverError::Timeout {
                doing: format!("killing an earlier run of task {task_id}"),
                limit: KILL_LIMIT,
            });
        }
    }
    dir.clear().map_err(failed)
}

/// Hears who the shim is, says what to run and hears what came of it.
fn converse(called: Called, message: &[u8], shim: &mut Option<Proc>) -> Result<Report, String> {
    let Called { mut input, output } = called;
    let mut output = Answers { output, deadline: Instant::now() + START_LIMIT, read: Vec::new() };
    let line = output.line()?;
    *shim = serde_json::from_slice(&line).map_err(|_| "it did not say who it is")?;
    // It reads all of this before it does anything else. One that died instead says so by its silence.
    let _ = input.write_all(message);
    drop(input);
    let answer = output.rest()?;
    serde_json::from_slice(&answer).map_err(|_| "it ended without an answer".into())
}

/// What a shim says, for as long as it may take to say it.
struct Answers {
    output: PipeReader,
    deadline: Instant,
    /// Read and not handed out yet: one read may bring the end of a line and what was said after it.
    read: Vec<u8>,
}

impl Answers {
    /// The next line; all there is where the end comes first.
    fn line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(at + 1);
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            if !self.more()? {
                return Ok(std::mem::take(&mut self.read));
            }
        }
    }

    /// What is left, to the end.
    fn rest(&mut self) -> Result<Vec<u8>, String> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.read))
    }

    /// Reads on; `false` at the end.
    fn more(&mut self) -> Result<bool, String> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now()).as_millis();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.to_string()),
                Ok(0) => return Err(format!("no answer within {} s", START_LIMIT.as_secs())),
                Ok(_) => {}
            }
            let mut piece = [0; 4096];
            let read = self.output.read(&mut piece).map_err(|error| error.to_string())?;
            self.read.extend_from_slice(piece.get(..read).unwrap_or_default());
            if self.read.len() as u64 > MAX_MESSAGE {
                return Err("its answer has no end".to_owned());
            }
            return Ok(read > 0);
        }
    }
}

/// Waits for the end of a run. Holds nothing but descriptors, so it may be dropped at any time.
pub(super) async fn wait(run: &Run) -> Result<ExitStatus, DriverError> {
    let record = &run.record;
    if !run.is_this_boot() {
        return Ok(recorded(run)
            .await
            .unwrap_or_else(|| ExitStatus::unknown("the machine was restarted while it ran")));
    }
    until_ended(record.shim).await;
    if let Some(status) = recorded(run).await {
        return Ok(status);
    }
    if !record.task.is_alive() {
        return Ok(ExitStatus::unknown("its shim ended without writing down how the task did"));
    }
    until_ended(record.task).await;
    Ok(ExitStatus::unknown("its shim was killed while it ran, so nobody saw the exit code"))
}

/// The end that a shim wrote down, which is read until it can be: an exit code is not lost for want of descriptors.
async fn recorded(run: &Run) -> Option<ExitStatus> {
    loop {
        match run.dir().exit(run.record.shim) {
            Ok(found) => return found,
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Waits until this very process has ended.
pub(super) async fn until_ended(process: Proc) {
    let end = match process.open() {
        Ok(None) => return,
        Ok(Some(fd)) => readable(fd).await,
        Err(error) => Err(error),
    };
    if end.is_err() {
        // No descriptors left, or a kernel without pidfd.
        while process.is_alive() {
            tokio::time::sleep(POLL).await;
        }
    }
}

#[expect(unsafe_code, reason = "tokio cannot know which types keep one descriptor for their life")]
async fn readable(fd: OwnedFd) -> std::io::Result<()> {
    // SAFETY: an `OwnedFd` names the same descriptor from here until it is dropped, with the registration.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
    fd.readable().await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(said: &[u8]) -> Answers {
        let (output, mut said_to) = std::io::pipe().expect("a pipe");
        said_to.write_all(said).expect("it fits into the pipe");
        Answers { output, deadline: Instant::now() + START_LIMIT, read: Vec::new() }
    }

    #[test]
    fn what_is_said_together_is_heard_apart() {
        let mut both = answers(b"who\nwhy\nnot");
        assert_eq!(both.line().as_deref(), Ok(&b"who\n"[..]));
        assert_eq!(both.rest().as_deref(), Ok(&b"why\nnot"[..]));
        assert_eq!(both.rest().as_deref(), Ok(&b""[..]));
        assert_eq!(answers(b"cut off").line().as_deref(), Ok(&b"cut off"[..]));
    }

    #[test]
    fn a_shim_that_fails_before_it_is_told_what_to_run_is_heard_all_the_same() {
        let (output, mut says) = std::io::pipe().expect("a pipe");
        let (hears, input) = std::io::pipe().expect("a pipe");
        drop(hears);
        let me = Proc::now(std::process::id() as i32).expect("this process");
        let who = serde_json::to_string(&me).expect("JSON");
        let failed = Report::Failed { message: "no room".to_owned(), never: false };
        let failed = serde_json::to_string(&failed).expect("JSON");
        says.write_all(format!("{who}\n{failed}").as_bytes()).expect("it fits into the pipe");
        drop(says);
        let mut shim = None;
        let heard = converse(Called { input, output }, b"{}", &mut shim);
        assert!(
            matches!(&heard, Ok(Report::Failed { message, .. }) if message == "no room"),
            "{heard:?}"
        );
        assert_eq!(shim, Some(me));
    }
}
