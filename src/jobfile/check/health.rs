//! Checks of services.
//!
//! Two rules differ from Nomad's on purpose. Checks may run every 100 ms (Nomad: every second), so that a rolling update
//! need not wait for its health; and `task` is good for checks of all types, which then follow that task.

use std::time::Duration;

use model::{Check, CheckType, OnUpdate, Service, format_duration};

use super::Rules;
use super::service::{Place, port, task_exists};

/// The shortest time between two runs of a check. Nomad's is a second.
const MIN_CHECK_TIME: Duration = Duration::from_millis(100);
/// The longest `notes`, in characters.
const MAX_NOTES: usize = 255;
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];

pub(super) fn check(
    rules: &Rules<'_>,
    place: Place<'_>,
    path: &str,
    service: &Service,
    check: &Check,
) {
    let whole = rules.places.is_whole(path);
    let own = |name: &str| format!("{path}/{name}");
    let missing = |message: &str, help: &str| {
        if whole {
            rules.error("missing-attribute", path, message, help);
        }
    };
    for (name, time) in [("interval", check.interval), ("timeout", check.timeout)] {
        // What could not be read is no time at all, and has been reported.
        let is_read = whole || !time.is_zero();
        if time < MIN_CHECK_TIME && is_read && rules.places.has(&own(name)) {
            let message =
                format!("`{name}` must be at least 100ms, this is {}", format_duration(time));
            rules.error("out-of-range", &own(name), message, "");
        }
    }
    match check.kind {
        CheckType::Script => script(rules, place, path, service, check),
        kind => {
            if check.port_label.is_empty() && service.port_label.is_empty() {
                let message = format!("a check of type {} needs a port", kind.as_str());
                missing(&message, "set `port` here or in the service");
            } else if check.port_label != service.port_label {
                port(rules, &own("port"), &check.port_label, place.group);
            }
            if kind == CheckType::Http {
                http(rules, path, check, &missing);
            }
        }
    }
    task_exists(rules, &own("task"), &check.task_name, place.group);
    if check.on_update == OnUpdate::Ignore && check.check_restart.is_some() {
        let message = "a check with `on_update = \"ignore\"` cannot restart its task";
        let at =
            if rules.places.has(&own("on_update")) { own("on_update") } else { path.to_owned() };
        rules.error("invalid-service", &at, message, "delete `check_restart` or `on_update`");
    }
    if check.notes.chars().count() > MAX_NOTES {
        let message = format!(
            "`notes` has at most {MAX_NOTES} characters, this has {}",
            check.notes.chars().count()
        );
        rules.error("out-of-range", &own("notes"), message, "");
    }
    if check.expose && !matches!(check.kind, CheckType::Http | CheckType::Grpc) {
        let message = format!("`expose` is not for checks of type {}", check.kind.as_str());
        rules.error(
            "invalid-service",
            &own("expose"),
            message,
            "only for http and grpc: delete it",
        );
    }
    thresholds(rules, path, check);
    if service.provider == "nomad" {
        of_nomad(rules, path, check);
    }
    never_passes(rules, path, check);
}

fn http(rules: &Rules<'_>, path: &str, check: &Check, missing: &impl Fn(&str, &str)) {
    if check.path.is_empty() {
        missing("a check of type http needs `path`", "for example path = \"/health\"");
    }
    if check.path.contains("://") && !check.path.starts_with('/') {
        let message = "`path` is the part behind the host and port";
        let rest = check.path.split_once("://").map_or("", |(_, rest)| rest);
        let rest = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
        rules.error(
            "invalid-value",
            &format!("{path}/path"),
            message,
            &format!("write path = \"{rest}\""),
        );
    }
    if !check.method.is_empty()
        && !METHODS.contains(&check.method.as_str())
        && !check.method.contains("${")
    {
        let upper = check.method.to_uppercase();
        let message = format!("`{}` is no method of HTTP", check.method);
        let help = if METHODS.contains(&upper.as_str()) {
            format!("write method = \"{upper}\"")
        } else {
            format!("one of {}", METHODS.join(", "))
        };
        rules.warning("invalid-value", &format!("{path}/method"), message, &help);
    }
}

fn script(rules: &Rules<'_>, place: Place<'_>, path: &str, service: &Service, check: &Check) {
    if check.command.is_empty() && rules.places.is_whole(path) {
        let message = "a check of type script needs `command`";
        rules.error("missing-attribute", path, message, "the command runs inside the task");
    }
    let task_is_known = !check.task_name.is_empty()
        || !service.task_name.is_empty()
        || place.task.is_some()
        || place.group.tasks.len() <= 1;
    if !task_is_known && rules.places.is_whole(path) {
        let known: Vec<&str> = place.group.tasks.iter().map(|task| task.name.as_str()).collect();
        let help = format!("say in which task the command runs: {}", known.join(", "));
        rules.error("missing-attribute", path, "a check of type script needs `task`", &help);
    }
    if check.command.trim().contains(' ') && check.args.is_empty() && !check.command.contains("${")
    {
        let mut words = check.command.split_whitespace();
        let first = words.next().unwrap_or_default();
        let rest: Vec<String> = words.map(|word| format!("{word:?}")).collect();
        let message = "`command` is the program alone; no shell parts it into words";
        let help = format!("write command = \"{first}\", args = [{}]", rest.join(", "));
        rules.warning("invalid-value", &format!("{path}/command"), message, &help);
    }
}

fn thresholds(rules: &Rules<'_>, path: &str, check: &Check) {
    if check.kind != CheckType::Script {
        return;
    }
    for (name, n) in [
        ("success_before_passing", check.success_before_passing),
        ("failures_before_critical", check.failures_before_critical),
        ("failures_before_warning", check.failures_before_warning),
    ] {
        if n > 0 {
            let message = format!("a check of type script has no `{name}`");
            let help = "only http, tcp and grpc checks count their results: delete it";
            rules.error("invalid-service", &format!("{path}/{name}"), message, help);
        }
    }
}

/// What the checks of Nomad's own provider lack. It would work here, and the file is to be one that Nomad takes.
fn of_nomad(rules: &Rules<'_>, path: &str, check: &Check) {
    let refuse = |name: &str, what: &str| {
        let message = format!("{what} needs `provider = \"consul\"` in the service");
        let help = "both providers mean the built-in catalog here; Nomad's own has none of it";
        rules.error("invalid-service", &format!("{path}/{name}"), message, help);
    };
    if !matches!(check.kind, CheckType::Http | CheckType::Tcp) {
        refuse("type", &format!("a check of type {}", check.kind.as_str()));
    }
    for (name, is_set) in [
        ("success_before_passing", check.success_before_passing > 0),
        ("failures_before_critical", check.failures_before_critical > 0),
        ("failures_before_warning", check.failures_before_warning > 0),
        ("tls_server_name", !check.tls_server_name.is_empty()),
        ("expose", check.expose),
        ("on_update", check.on_update == OnUpdate::IgnoreWarnings),
    ] {
        // What comes from the service has been said there.
        if is_set && rules.places.has(&format!("{path}/{name}")) {
            refuse(name, &format!("`{name}`"));
        }
    }
}

/// Checks that do not run yet stay critical, and a rollout waits for them in vain.
fn never_passes(rules: &Rules<'_>, path: &str, check: &Check) {
    if check.kind == CheckType::Grpc {
        let message = "checks of type grpc do not run yet, so that this one never passes";
        let help = "use a tcp or http check until then, or on_update = \"ignore\"";
        rules.once("not-acted-on", "check/grpc", &format!("{path}/type"), message, help);
    } else if check.protocol == "https" {
        let message = "checks over https do not run yet, so that this one never passes";
        let help = "use a tcp check, or http on another port, until then";
        rules.once("not-acted-on", "check/https", &format!("{path}/protocol"), message, help);
    }
}
