//! Rules of the node's firewall, through `iptables`, which CNI's plugins use too.

use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{NetworkError, program};

/// How long one call may take; others may hold the tables.
const LIMIT: Duration = Duration::from_secs(15);

fn run(arguments: &[&str]) -> Result<Output, NetworkError> {
    let mut command = Command::new("iptables");
    // It is looked for where system programs are, whatever the agent's own PATH says.
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-w", "10"])
        .args(arguments)
        .stdin(Stdio::null());
    program::run(&mut command, &format!("iptables {}", arguments.join(" ")), LIMIT).map_err(
        |error| match error {
            NetworkError::System { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                NetworkError::Missing {
                    program: "iptables".into(),
                    places: "the system's folders".into(),
                    advice: "install it (Debian: iptables)",
                }
            }
            other => other,
        },
    )
}

/// Held from the look whether a rule is there to its making: two networks that begin at once would both make it.
static MAKING: Mutex<()> = Mutex::new(());

/// Sees to it that a rule is in a chain of a table, which is made if `own`. The rule is put at the end.
pub(crate) fn ensure(
    table: &str,
    chain: &str,
    own: bool,
    rule: &[&str],
) -> Result<(), NetworkError> {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let with = |verb| [&["-t", table, verb, chain][..], rule].concat();
    if run(&with("-C"))?.status.success() {
        return Ok(());
    }
    if own {
        // It is there already more often than not.
        run(&["-t", table, "-N", chain])?;
    }
    let added = run(&with("-A"))?;
    if added.status.success() {
        return Ok(());
    }
    let doing = format!("adding a rule to {chain} in {table}");
    Err(NetworkError::Failed { doing, problem: program::complaint(&added) })
}

/// Takes a rule away, as often as it is there.
pub(crate) fn remove(table: &str, chain: &str, rule: &[&str]) -> Result<(), NetworkError> {
    for _ in 0..16 {
        if !run(&[&["-t", table, "-D", chain][..], rule].concat())?.status.success() {
            break;
        }
    }
    Ok(())
}

/// All rules of a table, as `iptables -S` writes them.
pub(crate) fn all(table: &str) -> Result<String, NetworkError> {
    let output = run(&["-t", table, "-S"])?;
    if !output.status.success() {
        let doing = format!("reading the rules of {table}");
        return Err(NetworkError::Failed { doing, problem: program::complaint(&output) });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
