//! `task {}`.

use super::job::{CONSTRAINT, restart};
use super::{
    Schema, Status, acted, block, gone, gone_block, later, later_block, many, map, one, opaque,
    service,
};

pub(super) static TASK: Schema = Schema {
    attributes: &[
        acted("driver"),
        acted("user"),
        acted("kill_timeout"),
        acted("kill_signal"),
        acted("shutdown_delay"),
        acted("leader"),
        later("kind"),
    ],
    blocks: &[
        map("config"),
        map("env"),
        map("meta"),
        one("resources", || &RESOURCES),
        one("logs", || &LOGS),
        one("lifecycle", || &LIFECYCLE),
        restart(),
        many("service", 0, || &service::SERVICE),
        many("constraint", 0, || &CONSTRAINT),
        later_block("artifact", 0),
        later_block("template", 0),
        later_block("vault", 0),
        later_block("consul", 0),
        later_block("affinity", 0),
        later_block("identity", 0),
        later_block("secret", 1),
        later_block("volume_mount", 0),
        later_block("csi_plugin", 0),
        later_block("dispatch_payload", 0),
        later_block("scaling", 1),
        later_block("action", 1),
        later_block("schedule", 0),
    ],
    open: false,
};

static RESOURCES: Schema = Schema {
    attributes: &[
        acted("cpu"),
        acted("memory"),
        acted("memory_max"),
        later("cores"),
        later("secrets"),
        gone("disk"),
        gone("iops"),
    ],
    blocks: &[
        block("device", 1, true, Status::Later, opaque),
        later_block("numa", 0),
        gone_block("network"),
    ],
    open: false,
};

static LOGS: Schema = Schema {
    attributes: &[acted("max_files"), acted("max_file_size"), acted("disabled"), acted("enabled")],
    blocks: &[],
    open: false,
};

static LIFECYCLE: Schema =
    Schema { attributes: &[acted("hook"), acted("sidecar")], blocks: &[], open: false };
