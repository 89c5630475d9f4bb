//! Runs one check once. Thin: sockets and the driver.

use std::time::Duration;

use driver::{Driver, TaskHandle};
use model::{CheckStatus, format_duration};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Probe, Seen, http};

/// Runs a probe that needs the network alone. Takes at most `limit`.
pub(crate) async fn http_or_tcp(probe: &Probe, limit: Duration) -> Seen {
    match probe {
        Probe::Http { authority, method, path, headers, body } => {
            let url = format!("http://{authority}{path}");
            let request = http::request(authority, method, path, headers, body);
            let run = async { http::exchange(authority, request?).await };
            match timeout(limit, run).await {
                Ok(Ok((status, text))) => http::judge(method, &url, status, &text),
                Ok(Err(why)) => Seen::critical(format!("HTTP {method} {url}: {why}")),
                Err(_) => Seen::critical(format!(
                    "HTTP {method} {url}: no answer within {}",
                    format_duration(limit)
                )),
            }
        }
        Probe::Tcp { authority } => match timeout(limit, TcpStream::connect(authority)).await {
            Ok(Ok(_)) => {
                Seen::new(CheckStatus::Passing, format!("TCP connect {authority}: Success"))
            }
            Ok(Err(error)) => Seen::critical(format!("TCP connect {authority}: {error}")),
            Err(_) => Seen::critical(format!(
                "TCP connect {authority}: no answer within {}",
                format_duration(limit)
            )),
        },
        Probe::Impossible(why) => Seen::critical(why.clone()),
        Probe::Script { .. } => Seen::critical("a script needs its task".into()),
    }
}

/// Runs a command in a task: exit 0 passes, 1 warns, anything else is critical.
pub(crate) async fn script(
    driver: &dyn Driver,
    handle: &TaskHandle,
    command: &str,
    args: &[String],
    limit: Duration,
) -> Seen {
    match driver.exec(handle, command, args, limit).await {
        Ok(done) => {
            let status = match done.exit_code {
                0 => CheckStatus::Passing,
                1 => CheckStatus::Warning,
                _ => CheckStatus::Critical,
            };
            let output = String::from_utf8_lossy(&done.output);
            let output = match output.trim_end() {
                "" => format!("exit code {}", done.exit_code),
                text => text.to_owned(),
            };
            Seen::new(status, output)
        }
        Err(error) => Seen::critical(format!("script {command}: {error}")),
    }
}
