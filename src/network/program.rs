//! Runs a program to its end, with limits on time and output. No shell.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::NetworkError;

/// What is kept of a program's output, in bytes; one that says more is ended.
const MAX_OUTPUT: u64 = 4 * 1024 * 1024;

/// Runs `command`, whose standard input is set by the caller. `doing` names it in errors.
pub(crate) fn run(
    command: &mut Command,
    doing: &str,
    limit: Duration,
) -> Result<Output, NetworkError> {
    let program = Path::new(command.get_program()).to_owned();
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| NetworkError::system("run", program, error))?;
    let (sender, receiver) = mpsc::channel();
    let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    for (at, pipe) in pipes.into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
            }
            // Nobody listens any more once the time is up.
            let _ = sender.send((at, bytes));
        });
    }
    let deadline = Instant::now() + limit;
    let mut outputs = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((at, bytes)) => {
                if let Some(output) = outputs.get_mut(at) {
                    *output = bytes;
                }
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(NetworkError::Timeout { doing: doing.to_owned(), limit });
            }
        }
    }
    // It has closed its output: its end is near, unless it does not mean to end at all.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(NetworkError::Timeout { doing: doing.to_owned(), limit });
            }
            Err(error) => {
                return Err(NetworkError::Failed {
                    doing: doing.to_owned(),
                    problem: error.to_string(),
                });
            }
        }
    };
    let [stdout, stderr] = outputs;
    Ok(Output { status, stdout, stderr })
}

/// The first lines of what a program complained about.
pub(crate) fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    // A note about tables of another kind stands before what matters.
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .take(4)
        .collect();
    if lines.is_empty() { output.status.to_string() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        let begin = Instant::now();
        let ended =
            run(command.arg("60").stdin(Stdio::null()), "sleeping", Duration::from_millis(50));
        assert!(matches!(ended, Err(NetworkError::Timeout { .. })), "{ended:?}");
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_and_status_come_back() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo out; echo '# note' >&2; echo err >&2; exit 3"])
            .stdin(Stdio::null());
        let output = run(&mut command, "speaking", Duration::from_secs(30)).expect("ran");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"out\n"[..]));
        assert_eq!(complaint(&output), "err");
    }
}
