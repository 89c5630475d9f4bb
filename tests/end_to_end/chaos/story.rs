//! Whether what is written of a task's life is whole, and agrees with what the task itself wrote.

use model::wire::{AllocListStub, TaskStateView};
use model::{DesiredStatus, TaskRunState};

use super::work::Kind;

/// Events that a task keeps; older ones are dropped.
const MAX_EVENTS: usize = 10;

/// What may end a story.
const ENDS: [&str; 5] =
    ["Terminated", "Killed", "Not Restarting", "Driver Failure", "Setup Failure"];

/// Says what is wrong with the story of a task that began `starts` times by its own count; `None` where its files are
/// gone already.
pub(super) fn check(
    alloc: &AllocListStub,
    task: &TaskStateView,
    kind: Option<Kind>,
    starts: Option<usize>,
) -> Result<(), String> {
    let kinds: Vec<&str> = task.events.iter().map(|event| event.kind.as_str()).collect();
    let whole = kinds.len() < MAX_EVENTS;
    if whole && kinds.first() != Some(&"Received") {
        return Err("its story has no beginning".to_owned());
    }
    if kinds.iter().skip(1).any(|kind| *kind == "Received") {
        return Err("its story begins twice".to_owned());
    }
    if task.events.windows(2).any(|two| two[0].time > two[1].time) {
        return Err("its story goes back in time".to_owned());
    }
    let restarts = usize::try_from(task.restarts).expect("fits");
    let started = kinds.iter().filter(|kind| **kind == "Started").count();
    if whole {
        between_starts(&kinds)?;
        if started > restarts + 1 {
            return Err(format!("`Started` {started} times with {restarts} restarts"));
        }
        let told = kinds.iter().filter(|kind| **kind == "Restarting").count();
        if told != restarts {
            return Err(format!("`Restarting` {told} times with {restarts} restarts"));
        }
    }
    let stopped = alloc.desired_status != DesiredStatus::Run;
    exit_codes(task, kind, stopped)?;
    if let Some(starts) = starts {
        if starts > restarts + 1 {
            return Err(format!("it was started {starts} times with {restarts} restarts"));
        }
        if starts > 0 && whole && started == 0 {
            return Err("it ran and its story does not say so".to_owned());
        }
        if !stopped && starts != restarts + 1 {
            return Err(format!(
                "it is {:?} after {starts} starts and {restarts} restarts",
                task.state
            ));
        }
    }
    match task.state {
        TaskRunState::Dead if !kinds.iter().any(|kind| ENDS.contains(kind)) => {
            Err("its story has no end".to_owned())
        }
        TaskRunState::Dead => Ok(()),
        // Nothing but an end of its own restarts a task, and these do not end.
        TaskRunState::Running if !stopped && restarts == 0 => Ok(()),
        TaskRunState::Running if !stopped => Err(format!("it was restarted {restarts} times")),
        TaskRunState::Running | TaskRunState::Pending => {
            Err(format!("it is {:?} in a quiet moment", task.state))
        }
    }
}

/// A task is not started while it runs, and ends once for each start.
fn between_starts(kinds: &[&str]) -> Result<(), String> {
    let mut runs = false;
    for kind in kinds {
        match *kind {
            "Started" if runs => return Err("started while it ran".to_owned()),
            "Started" => runs = true,
            "Terminated" if !runs => return Err("it ended without having started".to_owned()),
            "Terminated" => runs = false,
            "Restarting" if runs => return Err("restarted without an end".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// Nobody harmed the helpers, so each end is known; what was not told to end ended in the way that it does.
fn exit_codes(task: &TaskStateView, kind: Option<Kind>, stopped: bool) -> Result<(), String> {
    let ends = task.events.iter().filter(|event| event.kind == "Terminated");
    for end in ends {
        if end.message.contains("unknown") && end.signal == 0 {
            return Err(format!("an end without its exit code: {}", end.message));
        }
        if let Some(kind) = kind
            && !stopped
            && (!kind.ends() || end.exit_code != kind.code() || end.signal != 0)
        {
            return Err(format!("a {kind:?} ended with {}", end.message));
        }
    }
    Ok(())
}
