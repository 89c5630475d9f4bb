//! What is written down of a task's life, in Nomad's names.

use std::fmt::Write as _;
use std::time::Duration;

use driver::ExitStatus;
use model::{ClientStatus, TaskEvent, Timestamp, format_duration};

use super::TaskRun;

/// Events kept for each task.
const MAX_EVENTS: usize = 10;

/// The longest message, in bytes; an error can quote whole outputs.
const MAX_MESSAGE: usize = 1024;

impl TaskRun {
    /// Writes an event down.
    pub(super) fn note(&mut self, kind: &str, message: &str, now: Timestamp) {
        let (kind, message) = (kind.into(), message.into());
        self.push(TaskEvent { kind, time: now, message, ..TaskEvent::default() });
    }

    pub(super) fn push(&mut self, mut event: TaskEvent) {
        if event.message.len() > MAX_MESSAGE {
            let mut cut = event.message.to_string();
            crate::check::truncate(&mut cut, MAX_MESSAGE);
            event.message = cut.into();
        }
        self.state.events.push(event);
        let excess = self.state.events.len().saturating_sub(MAX_EVENTS);
        self.state.events.drain(..excess);
    }
}

pub(super) fn terminated(status: &ExitStatus, now: Timestamp) -> TaskEvent {
    let mut message = match status.code {
        Some(code) => format!("Exit Code: {code}"),
        None => "Exit Code: unknown".to_owned(),
    };
    if let Some(signal) = status.signal {
        let _ = write!(message, ", Signal: {signal}");
    }
    if status.oom {
        message += ", OOM Killed";
    }
    if !status.message.is_empty() {
        let _ = write!(message, ", Exit Message: {:?}", status.message);
    }
    TaskEvent {
        kind: "Terminated".into(),
        time: now,
        message: message.into(),
        exit_code: status.code,
        signal: status.signal,
        oom_killed: status.oom,
    }
}

pub(super) fn restarting(after: Duration, reason: &str, now: Timestamp) -> TaskEvent {
    TaskEvent {
        kind: "Restarting".into(),
        time: now,
        message: format!("Task restarting in {}. {reason}", format_duration(after)).into(),
        ..TaskEvent::default()
    }
}

/// Why an allocation fails that ran longer than its group allows.
pub(super) const RAN_TOO_LONG: &str = "Allocation ran longer than max_run_duration";

/// Why an allocation is stopped that nobody told to.
pub(super) const CUT_OFF: &str = "Stopped by its node, which heard from no server for too long";

/// An allocation's status in words.
pub(super) const fn describe(status: ClientStatus) -> &'static str {
    match status {
        ClientStatus::Pending => "No tasks have started",
        ClientStatus::Running => "Tasks are running",
        ClientStatus::Complete => "All tasks have completed",
        ClientStatus::Failed => "Failed tasks",
        ClientStatus::Lost | ClientStatus::Unknown => "",
    }
}
