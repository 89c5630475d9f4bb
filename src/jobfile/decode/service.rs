//! `service {}` and its checks.

use std::collections::BTreeMap;

use model::{Check, CheckRestart, CheckType, OnUpdate, Service};

use super::job::Inherited;
use super::reader::Reader;
use crate::expr::Value;

const ON_UPDATE: [(&str, OnUpdate); 3] = [
    ("require_healthy", OnUpdate::RequireHealthy),
    ("ignore_warnings", OnUpdate::IgnoreWarnings),
    ("ignore", OnUpdate::Ignore),
];

const PROVIDERS: [(&str, &str); 2] = [("consul", "consul"), ("nomad", "nomad")];

const ADDRESS_MODES: [(&str, &str); 5] = [
    ("auto", "auto"),
    ("host", "host"),
    ("driver", "driver"),
    ("alloc", "alloc"),
    ("alloc_ipv6", "alloc_ipv6"),
];

/// The services of a group, or of the task of this name in it.
pub(super) fn all(
    parent: &Reader<'_>,
    job: &Inherited,
    group: &str,
    task: Option<&str>,
) -> Vec<Service> {
    parent.blocks("service").iter().map(|(reader, _)| one(reader, job, group, task)).collect()
}

fn one(reader: &Reader<'_>, job: &Inherited, group: &str, task: Option<&str>) -> Service {
    let name = match (reader.text("name"), task) {
        (Some(name), _) => names(&name, &job.job, group, task),
        (None, Some(task)) => format!("{}-{group}-{task}", job.job),
        (None, None) => format!("{}-{group}", job.job),
    };
    let mut service = Service {
        name,
        provider: reader.choice("provider", &PROVIDERS).unwrap_or("consul").to_owned(),
        port_label: reader.text("port").unwrap_or_default(),
        address_mode: reader.choice("address_mode", &ADDRESS_MODES).unwrap_or("auto").to_owned(),
        address: reader.text("address").unwrap_or_default(),
        tags: reader.texts("tags").unwrap_or_default(),
        canary_tags: reader.texts("canary_tags").unwrap_or_default(),
        meta: reader.text_map("meta"),
        task_name: task.map_or_else(|| reader.text("task").unwrap_or_default(), ToOwned::to_owned),
        checks: Vec::new(),
        on_update: reader.choice("on_update", &ON_UPDATE).unwrap_or_default(),
        ..Service::default()
    };
    let restart = reader.block("check_restart").map(|r| check_restart(&r, CheckRestart::default()));
    let checks = reader.blocks("check");
    service.checks =
        checks.iter().map(|(inner, _)| check(inner, &service, restart.as_ref())).collect();
    service
}

/// Names may speak of the job, group and task around them.
fn names(name: &str, job: &str, group: &str, task: Option<&str>) -> String {
    let task = task.unwrap_or("group");
    name.replace("${JOB}", job)
        .replace("${TASKGROUP}", group)
        .replace("${TASK}", task)
        .replace("${BASE}", &format!("{job}-{group}-{task}"))
}

fn check(reader: &Reader<'_>, service: &Service, restart: Option<&CheckRestart>) -> Check {
    let kinds = [CheckType::Http, CheckType::Tcp, CheckType::Script, CheckType::Grpc];
    let kinds = kinds.map(|kind| (kind.as_str(), kind));
    reader.missing("type", "one of http, tcp, script, grpc");
    let kind = reader.choice("type", &kinds).unwrap_or_default();
    let is_http = kind == CheckType::Http;
    let default = Check::default();
    let http = |name: &str, otherwise: &str| {
        let text = reader.text(name).filter(|text| !text.is_empty());
        text.unwrap_or_else(|| if is_http { otherwise.to_owned() } else { String::new() })
    };
    let check_restart = match (reader.block("check_restart"), restart) {
        (Some(own), base) => Some(check_restart(&own, base.cloned().unwrap_or_default())),
        (None, base) => base.cloned(),
    };
    if reader.text("protocol").is_some_and(|protocol| protocol == "https") {
        reader.context.sink.warning(
            crate::report::Fault::new(
                "not-acted-on",
                reader.place("protocol"),
                "https checks are not run yet, so this check never passes",
            )
            .help("use a tcp check, or http on another port, until then"),
        );
    }
    if kind == CheckType::Grpc {
        reader.context.sink.warning(
            crate::report::Fault::new(
                "not-acted-on",
                reader.place("type"),
                "gRPC checks are not run yet",
            )
            .help("use a tcp or http check until then"),
        );
    }
    Check {
        name: reader
            .text("name")
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("service: \"{}\" check", service.name)),
        kind,
        interval: reader.duration("interval").unwrap_or(default.interval),
        timeout: reader.duration("timeout").unwrap_or(default.timeout),
        path: reader.text("path").unwrap_or_default(),
        method: http("method", "GET"),
        protocol: http("protocol", "http"),
        port_label: match kind {
            CheckType::Script => String::new(),
            _ => reader.text("port").unwrap_or_else(|| service.port_label.clone()),
        },
        body: reader.text("body").unwrap_or_default(),
        header: headers(reader),
        command: reader.text("command").unwrap_or_default(),
        args: reader.texts("args").unwrap_or_default(),
        task_name: reader.text("task").unwrap_or_else(|| service.task_name.clone()),
        tls_skip_verify: reader.flag("tls_skip_verify").unwrap_or_default(),
        initial_status: reader
            .choice(
                "initial_status",
                &[
                    ("", ""),
                    ("passing", "passing"),
                    ("warning", "warning"),
                    ("critical", "critical"),
                ],
            )
            .unwrap_or_default()
            .to_owned(),
        success_before_passing: reader.count("success_before_passing").unwrap_or_default(),
        failures_before_critical: reader.count("failures_before_critical").unwrap_or_default(),
        check_restart,
        on_update: reader.choice("on_update", &ON_UPDATE).unwrap_or(service.on_update),
        ..Check::default()
    }
}

/// A header's value is text, or a list of texts.
fn headers(reader: &Reader<'_>) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::new();
    for (name, value) in reader.open_map("header") {
        let items = match value {
            Value::List(items) => items,
            Value::Null | Value::Failed => continue,
            single => vec![single],
        };
        let texts: Vec<String> =
            items.iter().filter_map(Value::as_text).map(|text| text.into_owned()).collect();
        if texts.len() < items.len() {
            let message = format!("the header `{name}` is text or a list of texts");
            reader.fault("wrong-type", reader.place("header"), message, String::new());
        }
        headers.insert(name, texts);
    }
    headers
}

fn check_restart(reader: &Reader<'_>, base: CheckRestart) -> CheckRestart {
    CheckRestart {
        limit: reader.count("limit").unwrap_or(base.limit),
        grace: reader.duration("grace").unwrap_or(base.grace),
        ignore_warnings: reader.flag("ignore_warnings").unwrap_or(base.ignore_warnings),
    }
}
