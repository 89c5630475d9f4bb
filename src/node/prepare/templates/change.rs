//! What follows for a running task when its templates have other results.

use std::collections::BTreeSet;

use model::{ChangeScript, Template};

/// What is to be done, once for all templates that changed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Start the task again, and why; nothing else is done then.
    pub restart: Option<String>,
    /// Signals to send, each once.
    pub signals: BTreeSet<String>,
    /// Commands to run in the task, in the order of the templates.
    pub scripts: Vec<ChangeScript>,
}

/// Decides. A restart makes all else pointless: the task reads everything anew.
pub(crate) fn changes<'a>(changed: impl IntoIterator<Item = &'a Template>) -> Changes {
    let mut changes = Changes::default();
    for template in changed {
        match template.change_mode.as_str() {
            "noop" => {}
            "signal" => {
                let signal = template.change_signal.to_uppercase();
                let signal = if signal.is_empty() { "SIGHUP".to_owned() } else { signal };
                changes.signals.insert(signal);
            }
            "script" => changes.scripts.extend(template.change_script.clone()),
            _ => {
                let reason = format!("Template `{}` has another result", template.destination);
                changes.restart.get_or_insert(reason);
            }
        }
    }
    if changes.restart.is_some() {
        changes.signals.clear();
        changes.scripts.clear();
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(mode: &str, signal: &str) -> Template {
        let change_script = (mode == "script")
            .then(|| ChangeScript { command: signal.to_owned(), ..ChangeScript::default() });
        Template {
            destination: "local/a".to_owned(),
            change_mode: mode.to_owned(),
            change_signal: signal.to_owned(),
            change_script,
            ..Template::default()
        }
    }

    #[test]
    fn a_restart_wins_and_signals_are_sent_once() {
        let signals =
            [template("signal", ""), template("signal", "sighup"), template("signal", "SIGUSR1")];
        let scripts = [template("script", "/a"), template("noop", ""), template("script", "/b")];
        let both = changes(signals.iter().chain(&scripts));
        assert_eq!(both.restart, None);
        assert_eq!(
            both.signals.iter().map(String::as_str).collect::<Vec<_>>(),
            ["SIGHUP", "SIGUSR1"]
        );
        let commands: Vec<_> = both.scripts.iter().map(|script| script.command.as_str()).collect();
        assert_eq!(commands, ["/a", "/b"]);
        let restart = template("restart", "");
        let all = changes(signals.iter().chain(&scripts).chain([&restart]));
        assert!(all.restart.is_some() && all.signals.is_empty() && all.scripts.is_empty());
        assert_eq!(changes([&template("noop", "")]), Changes::default());
        assert_eq!(changes([]), Changes::default());
    }
}
