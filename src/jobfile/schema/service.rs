//! `service {}` and its checks.

use super::{Schema, acted, later, later_block, many, map, one};

pub(super) static SERVICE: Schema = Schema {
    attributes: &[
        acted("name"),
        acted("provider"),
        acted("port"),
        acted("address_mode"),
        acted("address"),
        acted("tags"),
        acted("canary_tags"),
        acted("task"),
        acted("on_update"),
        later("enable_tag_override"),
        later("cluster"),
        later("kind"),
    ],
    blocks: &[
        many("check", 0, || &CHECK),
        one("check_restart", || &CHECK_RESTART),
        map("meta"),
        later_block("canary_meta", 0),
        later_block("tagged_addresses", 0),
        later_block("weights", 0),
        later_block("connect", 0),
        later_block("identity", 0),
    ],
    open: false,
};

static CHECK: Schema = Schema {
    attributes: &[
        acted("name"),
        acted("type"),
        acted("interval"),
        acted("timeout"),
        acted("path"),
        acted("method"),
        acted("protocol"),
        acted("port"),
        acted("body"),
        acted("command"),
        acted("args"),
        acted("task"),
        acted("initial_status"),
        acted("success_before_passing"),
        acted("failures_before_critical"),
        acted("on_update"),
        later("address_mode"),
        later("advertise"),
        later("tls_skip_verify"),
        later("failures_before_warning"),
        later("grpc_service"),
        later("grpc_use_tls"),
        later("tls_server_name"),
        later("expose"),
        later("notes"),
    ],
    blocks: &[one("check_restart", || &CHECK_RESTART), map("header")],
    open: false,
};

static CHECK_RESTART: Schema = Schema {
    attributes: &[acted("limit"), acted("grace"), acted("ignore_warnings")],
    blocks: &[],
    open: false,
};
