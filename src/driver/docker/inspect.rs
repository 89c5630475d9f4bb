//! What the daemon says of a container, read leniently.

use model::Timestamp;
use serde_json::Value;

use super::container::{ALLOC, INSTANCE, SPEC, TASK};
use crate::{ExitStatus, exit};

/// A container as far as we need to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) alloc: String,
    pub(super) task: String,
    /// The agent that made it.
    pub(super) instance: String,
    pub(super) spec: String,
    /// The id of the image that it is made of.
    pub(super) image: String,
    /// The image's own, else SIGTERM.
    pub(super) stop_signal: String,
    pub(super) state: State,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Never started.
    Created,
    /// Runs, or is in a state that only running containers have, or in one we do not know: a container that is taken for
    /// dead without being so would run twice.
    #[default]
    Running,
    /// Ended.
    Ended(ExitStatus),
}

impl Container {
    /// Reads `GET /containers/<id>/json`.
    pub(super) fn read(value: &Value) -> Self {
        let text = |pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let label = |key: &str| {
            let labels = value.pointer("/Config/Labels");
            labels.and_then(|labels| labels.get(key)?.as_str()).unwrap_or_default().to_owned()
        };
        Self {
            id: text("/Id"),
            alloc: label(ALLOC),
            task: label(TASK),
            instance: label(INSTANCE),
            spec: label(SPEC),
            image: image(&text("/Image")),
            stop_signal: Some(text("/Config/StopSignal"))
                .filter(|signal| exit::parse_signal(signal).is_some())
                .unwrap_or_else(|| "SIGTERM".to_owned()),
            state: state(value.get("State").unwrap_or(&Value::Null)),
        }
    }
}

/// Podman writes ids of images without their kind.
fn image(id: &str) -> String {
    if id.is_empty() || id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

fn state(value: &Value) -> State {
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let running = flag("Running");
    match value.get("Status").and_then(Value::as_str).unwrap_or_default() {
        // The last two are Podman's.
        "created" | "configured" | "initialized" if running != Some(true) => State::Created,
        "exited" | "dead" | "stopped" | "removing" if running != Some(true) => {
            let code = value.get("ExitCode").and_then(Value::as_i64).unwrap_or(-1);
            let message = value.get("Error").and_then(Value::as_str).unwrap_or_default();
            let at = value.get("FinishedAt").and_then(Value::as_str).and_then(timestamp);
            let at = at.filter(|at| at.0 > 0).unwrap_or_else(exit::now);
            let oom = flag("OOMKilled").unwrap_or(false);
            State::Ended(ExitStatus::of_container(code, oom, message.to_owned(), at))
        }
        _ => State::Running,
    }
}

/// A point in time as Docker writes it.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(i64::try_from(at.as_nanosecond()).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_an_end() {
        let container = Container::read(&json!({
            "Id": "abc",
            "Config": {"Labels": {"herder.alloc_id": "a", "herder.task": "web"}},
            "State": {
                "Status": "exited", "Running": false, "ExitCode": 137, "OOMKilled": true,
                "Error": "", "FinishedAt": "2026-11-20T20:58:54.387442758Z",
            },
        }));
        assert_eq!((container.id.as_str(), container.task.as_str()), ("abc", "web"));
        let State::Ended(status) = container.state else { panic!("it has ended") };
        assert_eq!((status.code, status.signal, status.oom), (Some(137), Some(9), true));
        assert_eq!(status.finished_at, Timestamp(1_795_208_334_387_442_758));
    }

    #[test]
    fn a_state_without_a_known_name_counts_as_running() {
        for value in [
            json!({"Status": "weird"}),
            json!({}),
            json!({"Status": "exited", "Running": true}),
            json!({"Status": "stopping", "Running": true}),
            json!({"Status": "paused"}),
        ] {
            assert_eq!(state(&value), State::Running, "{value}");
        }
        assert_eq!(state(&json!({"Status": "created"})), State::Created);
    }
}
