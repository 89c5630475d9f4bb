//! `group {}` and its network.

use super::job::{CONSTRAINT, MIGRATE, RESCHEDULE, UPDATE, restart};
use super::{Rule, Schema, Status, acted, block, gone, later, later_block, many, map, one, opaque};
use super::{service, task};

pub(super) static GROUP: Schema = Schema {
    attributes: &[
        acted("count"),
        acted("shutdown_delay"),
        later("max_run_duration"),
        gone("stop_after_client_disconnect"),
        gone("max_client_disconnect"),
        gone("prevent_reschedule_on_lost"),
    ],
    blocks: &[
        many("task", 1, || &task::TASK),
        many("network", 0, || &NETWORK),
        many("service", 0, || &service::SERVICE),
        many("constraint", 0, || &CONSTRAINT),
        one("ephemeral_disk", || &EPHEMERAL_DISK),
        restart(),
        one("reschedule", || &RESCHEDULE),
        one("update", || &UPDATE),
        one("migrate", || &MIGRATE),
        map("meta"),
        block("scaling", 0, false, Status::Later, || &SCALING),
        later_block("volume", 1),
        later_block("affinity", 0),
        later_block("spread", 0),
        later_block("disconnect", 0),
        later_block("consul", 0),
        later_block("vault", 0),
        later_block("secret", 1),
    ],
    open: false,
};

/// Not acted on, but `min` is the default of the group's count.
static SCALING: Schema = Schema {
    attributes: &[acted("min"), acted("max"), acted("enabled"), acted("type")],
    blocks: &[block("policy", 0, true, Status::Acted, opaque)],
    open: false,
};

static EPHEMERAL_DISK: Schema = Schema {
    attributes: &[acted("size"), later("sticky"), later("migrate")],
    blocks: &[],
    open: false,
};

static NETWORK: Schema = Schema {
    attributes: &[acted("mode"), later("hostname"), gone("mbits")],
    blocks: &[port(), later_block("dns", 0), later_block("cni", 0)],
    open: false,
};

const fn port() -> Rule {
    many("port", 1, || &PORT)
}

static PORT: Schema = Schema {
    attributes: &[acted("static"), acted("to"), later("host_network"), later("ignore_collision")],
    blocks: &[],
    open: false,
};
