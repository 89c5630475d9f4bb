//! A command beside a running task, for script checks.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::Command;

use super::SHIM_ARG;
use super::record::CommandSpec;
use crate::{DriverError, ExecOutput, MAX_EXEC_OUTPUT};

/// How long output is still read after the command has ended: what it left behind may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// A group of processes that does not outlive this value.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // The leader is collected only after this, so the number is still its own.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

/// Runs a command to its end or to `timeout`. The shim switches user and directory and then becomes the command, so
/// that the agent need not fork.
pub(super) async fn run(
    program: &Path,
    spec: &CommandSpec,
    timeout: Duration,
) -> Result<ExecOutput, DriverError> {
    let failed =
        |error: std::io::Error| DriverError::failed(format!("run `{}`", spec.command), error);
    let message = serde_json::to_vec(spec).map_err(|error| failed(error.into()))?;
    let (read, write) = std::io::pipe().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .arg0("herder")
        .args([SHIM_ARG, "exec"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(write.try_clone().map_err(failed)?)
        .stderr(write)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    // It holds the write end, without which the end of the output would be seen.
    drop(command);
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = id.map(|id| Group(Pid::from_raw(id)));
    let mut read = pipe::Receiver::from_owned_fd(read.into()).map_err(failed)?;
    let mut output = Vec::new();
    let work = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A command that ended early does not read it; its exit code says why.
            let _ = stdin.write_all(&message).await;
        }
        let status = {
            let drain = keep_first(&mut read, &mut output);
            tokio::pin!(drain);
            tokio::select! {
                // Not collected yet: the group's number must stay its own until it is killed.
                () = ended(id) => { let _ = tokio::time::timeout(DRAIN, drain).await; }
                () = &mut drain => ended(id).await,
            }
            drop(group);
            child.wait().await.map_err(failed)?
        };
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(code) => code.map(|exit_code| ExecOutput { exit_code, output }),
        Err(_) => {
            let doing = format!("`{}`", spec.command);
            Err(DriverError::Timeout { doing, limit: timeout })
        }
    }
}

/// Waits until the process has ended without collecting it.
async fn ended(id: Option<i32>) {
    if let Some(process) = id.and_then(super::process::Proc::now) {
        super::agent::until_ended(process).await;
    }
}

/// Reads to the end and keeps the beginning.
async fn keep_first(read: &mut pipe::Receiver, output: &mut Vec<u8>) {
    let mut piece = [0; MAX_EXEC_OUTPUT];
    while let Ok(n @ 1..) = read.read(&mut piece).await {
        let room = MAX_EXEC_OUTPUT.saturating_sub(output.len()).min(n);
        output.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
}
