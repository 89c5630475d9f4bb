//! Calls one plugin: a program that reads JSON and writes JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::keep::Turn;
use crate::{NetworkError, program};

/// How long a plugin may take. One that asks a DHCP server takes a while.
const LIMIT: Duration = Duration::from_secs(30);

/// What a plugin is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Version,
}

impl Command {
    const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Version => "VERSION",
        }
    }
}

/// Whom a call is about.
pub(crate) struct Call<'a> {
    pub container: &'a str,
    /// The namespace; empty when it is gone.
    pub namespace: &'a Path,
    pub args: &'a str,
    pub path: &'a [PathBuf],
}

/// Where a plugin's program is.
pub(crate) fn find(path: &[PathBuf], kind: &str) -> Result<PathBuf, NetworkError> {
    let found = path.iter().map(|dir| dir.join(kind)).find(|file| file.is_file());
    found.ok_or_else(|| NetworkError::Missing {
        program: kind.to_owned(),
        places: path.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":"),
        advice: "install the CNI plugins (Debian: containernetworking-plugins) or set client.cni_path",
    })
}

/// Calls a plugin and returns its result; `null` where it has none. The turn's lock goes with it, so that a plugin which
/// outlives an agent that was killed is waited for by the next one.
pub(crate) fn call(
    turn: &mut Turn,
    command: Command,
    kind: &str,
    about: &Call<'_>,
    input: &Value,
) -> Result<Value, NetworkError> {
    let file = find(about.path, kind)?;
    let path = std::env::join_paths(about.path).unwrap_or_default();
    let mut child = std::process::Command::new(file);
    child
        .env_clear()
        // Plugins call `iptables`.
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("CNI_COMMAND", command.name())
        .env("CNI_CONTAINERID", about.container)
        .env("CNI_NETNS", about.namespace)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_ARGS", about.args)
        .env("CNI_PATH", path)
        .stdin(Stdio::from(turn.input(input.to_string().as_bytes())?));
    let doing = format!("the CNI plugin `{kind}` ({})", command.name());
    let output = program::run(&mut child, &doing, LIMIT)?;
    let answer = serde_json::from_slice::<Value>(&output.stdout);
    if output.status.success() {
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        return answer.map_err(|error| NetworkError::Plugin {
            plugin: kind.to_owned(),
            command: command.name(),
            problem: format!("its answer cannot be read: {error}"),
        });
    }
    let said = answer.ok().map(|error| {
        let text =
            |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (message, details) = (text("msg"), text("details"));
        if details.is_empty() { message } else { format!("{message}: {details}") }
    });
    let problem =
        said.filter(|text| !text.is_empty()).unwrap_or_else(|| program::complaint(&output));
    Err(NetworkError::Plugin { plugin: kind.to_owned(), command: command.name(), problem })
}
