//! A command in a container, for script checks.

use std::time::Duration;

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Handle;
use super::api::{Api, Endpoint, refusal};
use crate::shim::Proc;
use crate::{DriverError, ExecOutput, MAX_EXEC_OUTPUT};

/// Runs a command to its end or to `timeout`.
pub(super) async fn run(
    api: &Api,
    handle: &Handle,
    command: &str,
    args: &[String],
    timeout: Duration,
) -> Result<ExecOutput, DriverError> {
    let failed = |error: bollard::errors::Error| match refusal(&error) {
        (404 | 409, _) => DriverError::NotRunning(handle.task_id()),
        (_, said) => DriverError::failed(format!("run `{command}` in {}", handle.name), said),
    };
    let client = api.client()?;
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(
            std::iter::once(command)
                .chain(args.iter().map(String::as_str))
                .map(str::to_owned)
                .collect(),
        ),
        ..ExecConfig::default()
    };
    let late = || DriverError::Timeout { doing: format!("`{command}`"), limit: timeout };
    let deadline = tokio::time::Instant::now() + timeout;
    let created = tokio::time::timeout_at(deadline, client.create_exec(&handle.container, config));
    let id = created.await.map_err(|_| late())?.map_err(failed)?.id;
    let path = format!("/exec/{id}/json");
    let mut output = Vec::new();
    let work = async {
        if let StartExecResults::Attached { output: mut pieces, .. } =
            client.start_exec(&id, None).await.map_err(failed)?
        {
            while let Some(Ok(piece)) = pieces.next().await {
                let bytes = piece.into_bytes();
                let room = MAX_EXEC_OUTPUT.saturating_sub(output.len()).min(bytes.len());
                output.extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
        }
        exit_code(api, &path).await
    };
    match tokio::time::timeout_at(deadline, work).await {
        Ok(code) => code.map(|exit_code| ExecOutput { exit_code, output }),
        Err(_) => {
            kill(api, handle, &path).await;
            Err(late())
        }
    }
}

/// Asks until the daemon knows the code; it notes it shortly after the output has ended.
async fn exit_code(api: &Api, path: &str) -> Result<i32, DriverError> {
    loop {
        let value = api.get(path).await?.unwrap_or_default();
        let running = value.get("Running").and_then(Value::as_bool).unwrap_or(false);
        if let (false, Some(code)) = (running, value.get("ExitCode").and_then(Value::as_i64)) {
            return Ok(i32::try_from(code).unwrap_or(-1));
        }
        if value.is_null() {
            return Err(DriverError::failed("read an exit code", "the container is gone"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills a command that took too long. Docker offers no way, so it is done by its pid, if the daemon is on this machine
/// and the kernel says that the process is in this container.
async fn kill(api: &Api, handle: &Handle, path: &str) {
    if !matches!(api.endpoint, Endpoint::Unix(_)) {
        return;
    }
    let Ok(Some(value)) = api.get(path).await else { return };
    let pid = value.get("Pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = pid.filter(|pid| *pid > 1) else { return };
    let container = handle.container.clone();
    let kill = move || {
        let Some(process) = Proc::now(pid) else { return };
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if !container.is_empty() && groups.contains(&container) {
            // It may have ended by itself.
            let _ = process.signal(Signal::SIGKILL);
        }
    };
    let _ = tokio::task::spawn_blocking(kill).await;
}
