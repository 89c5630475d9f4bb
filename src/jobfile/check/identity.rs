//! Who a task is to others, and what it may be told: Vault, identities, secrets.

use std::collections::HashMap;

use model::{Task, WorkloadIdentity};

use super::{Rules, escapes};

pub(super) fn check(rules: &Rules<'_>, path: &str, task: &Task) {
    if let Some(vault) = &task.vault {
        let block = format!("{path}/vault");
        if vault.policies.iter().any(|policy| policy == "root") {
            let place = format!("{block}/policies");
            rules.error(
                "invalid-identity",
                &place,
                "no task gets the policy `root`",
                "name what it needs",
            );
        }
        if vault.change_mode == "signal" && vault.change_signal.is_empty() {
            let message = "`change_mode = \"signal\"` needs `change_signal`";
            rules.error("missing-attribute", &block, message, "for example \"SIGHUP\"");
        }
    }
    let mut names: HashMap<&str, ()> = HashMap::new();
    if let Some(identity) = &task.identity {
        let own = format!("{path}/identity.0");
        one(rules, &own, identity);
        if !identity.ttl.is_zero() {
            let message = "the default identity has no `ttl`";
            let help = "give the identity a name, to have one beside the default";
            rules.error("invalid-identity", &format!("{own}/ttl"), message, help);
        }
    }
    // The default one was taken out from among them, which moves those behind it.
    let before = usize::from(
        task.identity.is_some()
            && rules.places.has(&format!("{path}/identity.{}", task.identities.len())),
    );
    for (n, identity) in task.identities.iter().enumerate() {
        let own = format!("{path}/identity.{}", n + before);
        one(rules, &own, identity);
        let name = identity.name.as_str();
        let fits = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !fits {
            let message = format!("`{name}` cannot be an identity's name");
            let help = "1 to 128 letters, digits and dashes";
            rules.error("invalid-name", &format!("{own}/name"), message, help);
        }
        if names.insert(name, ()).is_some() {
            let message = format!("the identity `{name}` is in this task twice");
            rules.error("duplicate-name", &own, message, "give it another name");
        }
    }
    secrets(rules, path, task);
}

fn one(rules: &Rules<'_>, path: &str, identity: &WorkloadIdentity) {
    let signal = identity.change_signal.as_str();
    match (identity.change_mode.as_str(), signal) {
        ("signal", "") => {
            let message = "`change_mode = \"signal\"` needs `change_signal`";
            rules.error("missing-attribute", path, message, "for example \"SIGHUP\"");
        }
        ("signal", _) | (_, "") => {}
        (mode, _) => {
            let message = match mode {
                "" => "`change_signal` needs `change_mode = \"signal\"`".to_owned(),
                mode => format!("`change_signal` does not go with `change_mode = \"{mode}\"`"),
            };
            rules.error("invalid-identity", &format!("{path}/change_signal"), message, "");
        }
    }
    if escapes(&identity.filepath, "task") {
        rules.leaves_folder(
            &format!("{path}/filepath"),
            &identity.filepath,
            "the allocation's folder",
        );
    }
}

fn secrets(rules: &Rules<'_>, path: &str, task: &Task) {
    let mut names: HashMap<&str, ()> = HashMap::new();
    for (n, secret) in task.secrets.iter().enumerate() {
        let own = format!("{path}/secret.{n}");
        let name = secret.name.as_str();
        let fits = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits && rules.places.is_labelled(&own) {
            let message = format!("`{name}` cannot be a secret's name");
            let help = "1 to 128 letters, digits and `_`";
            rules.error("invalid-name", &own, message, help);
        }
        if names.insert(name, ()).is_some() {
            let message = format!("the secret `{name}` is in this task twice");
            rules.error("duplicate-name", &own, message, "give it another name");
        }
        for (what, value) in [("provider", &secret.provider), ("path", &secret.path)] {
            let place = format!("{own}/{what}");
            if value.is_empty() && rules.places.has(&place) {
                rules.error("missing-attribute", &place, format!("`{what}` is empty"), "");
            }
        }
        if secret.provider == "vault" && task.vault.is_none() {
            let message = "a secret of Vault needs `vault {}` in the task, group or job";
            rules.error("invalid-identity", &own, message, "add vault {} to the task");
        }
        if matches!(secret.provider.as_str(), "vault" | "nomad") && !secret.env.is_empty() {
            let message = format!("the provider `{}` takes no `env`", secret.provider);
            rules.error(
                "invalid-identity",
                &format!("{own}/env"),
                message,
                "only plugins do: delete it",
            );
        }
    }
}
