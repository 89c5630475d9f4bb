//! `service {}` and its checks.

use super::{
    Schema, Shape, block, choice, count, duration, flag, many, map, one, opaque, text, texts, whole,
};
use super::{connect, material};

const ON_UPDATE: [&str; 4] = ["", "require_healthy", "ignore_warnings", "ignore"];

pub(super) static SERVICE: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        texts("tags", "Tags"),
        texts("canary_tags", "CanaryTags"),
        flag("enable_tag_override", "EnableTagOverride").later(),
        text("port", "PortLabel"),
        choice(
            "address_mode",
            "AddressMode",
            &["", "auto", "host", "driver", "alloc", "alloc_ipv6"],
        )
        .or("auto"),
        text("address", "Address"),
        text("task", "TaskName"),
        choice("on_update", "OnUpdate", &ON_UPDATE).or("require_healthy"),
        choice("provider", "Provider", &["", "consul", "nomad"]).or("consul"),
        text("cluster", "Cluster").or("default").later(),
        text("kind", "Kind").later(),
    ],
    blocks: &[
        many("check", "Checks", || &CHECK),
        one("check_restart", "CheckRestart", || &CHECK_RESTART),
        one("connect", "Connect", || &connect::CONNECT).later(),
        map("meta", "Meta"),
        map("canary_meta", "CanaryMeta").later(),
        map("tagged_addresses", "TaggedAddresses").later(),
        one("identity", "Identity", || &material::IDENTITY).later(),
        one("weights", "Weights", || &WEIGHTS).later(),
    ],
    open: false,
};

static WEIGHTS: Schema = Schema {
    attributes: &[count("passing", "Passing").or_whole(1), count("warning", "Warning").or_whole(1)],
    blocks: &[],
    open: false,
};

static CHECK: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        choice("type", "Type", &["http", "tcp", "script", "grpc"])
            .required("one of http, tcp, script, grpc"),
        text("command", "Command"),
        texts("args", "Args"),
        text("path", "Path"),
        choice("protocol", "Protocol", &["", "http", "https"]),
        text("port", "PortLabel"),
        flag("expose", "Expose").later(),
        choice("address_mode", "AddressMode", &["", "host", "driver", "alloc", "alloc_ipv6"])
            .later(),
        text("advertise", "Advertise").later(),
        duration("interval", "Interval").required("how often it runs: interval = \"10s\""),
        duration("timeout", "Timeout").required("how long it may take: timeout = \"2s\""),
        choice("initial_status", "InitialStatus", &["", "passing", "warning", "critical"]),
        text("notes", "Notes"),
        text("tls_server_name", "TLSServerName").later(),
        flag("tls_skip_verify", "TLSSkipVerify").later(),
        text("method", "Method"),
        text("grpc_service", "GRPCService").later(),
        flag("grpc_use_tls", "GRPCUseTLS").later(),
        text("task", "TaskName"),
        count("success_before_passing", "SuccessBeforePassing"),
        count("failures_before_critical", "FailuresBeforeCritical"),
        count("failures_before_warning", "FailuresBeforeWarning").later(),
        text("body", "Body"),
        choice("on_update", "OnUpdate", &ON_UPDATE).or(""),
    ],
    blocks: &[
        super::Rule { or_attribute: true, ..block("header", "Header", Shape::Lists, opaque) },
        one("check_restart", "CheckRestart", || &CHECK_RESTART),
    ],
    open: false,
};

/// A check's fields go over its service's. The grace is a second where neither says.
pub(super) static CHECK_RESTART: Schema = Schema {
    attributes: &[
        whole("limit", "Limit", 0, i32::MAX as i64),
        duration("grace", "Grace").or_null(),
        flag("ignore_warnings", "IgnoreWarnings"),
    ],
    blocks: &[],
    open: false,
};
