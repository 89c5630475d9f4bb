//! `job {}` and what jobs and groups share.

use super::{Name, Rule, Schema, acted, gone, later_block, many, map, one, refused_block};
use super::{group, task};

pub(super) static JOB: Schema = Schema {
    attributes: &[
        acted("id"),
        acted("name"),
        acted("region"),
        acted("namespace"),
        acted("type"),
        acted("priority"),
        acted("all_at_once"),
        acted("datacenters"),
        acted("node_pool"),
        gone("vault_token"),
        gone("consul_token"),
        gone("nomad_token_id"),
    ],
    blocks: &[
        many("group", 1, || &group::GROUP),
        many("task", 1, || &task::TASK),
        many("constraint", 0, || &CONSTRAINT),
        one("update", || &UPDATE),
        one("reschedule", || &RESCHEDULE),
        one("migrate", || &MIGRATE),
        one("gitops", || &GITOPS),
        map("meta"),
        later_block("affinity", 0),
        later_block("spread", 0),
        refused_block("periodic"),
        refused_block("parameterized"),
        later_block("multiregion", 0),
        later_block("ui", 0),
        later_block("vault", 0),
        later_block("secret", 1),
    ],
    open: false,
};

static GITOPS: Schema =
    Schema { attributes: &[acted("restart_on_meta")], blocks: &[], open: false };

pub(super) static CONSTRAINT: Schema = Schema {
    attributes: &[
        acted("attribute"),
        acted("operator"),
        acted("value"),
        acted("regexp"),
        acted("version"),
        acted("semver"),
        acted("set_contains"),
        acted("set_contains_all"),
        acted("set_contains_any"),
        acted("is_set"),
        acted("is_not_set"),
        acted("distinct_hosts"),
        acted("distinct_property"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static UPDATE: Schema = Schema {
    attributes: &[
        acted("max_parallel"),
        acted("health_check"),
        acted("min_healthy_time"),
        acted("healthy_deadline"),
        acted("progress_deadline"),
        acted("auto_revert"),
        acted("auto_promote"),
        acted("canary"),
        gone("stagger"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static RESCHEDULE: Schema = Schema {
    attributes: &[
        acted("attempts"),
        acted("interval"),
        acted("delay"),
        acted("delay_function"),
        acted("max_delay"),
        acted("unlimited"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static MIGRATE: Schema = Schema {
    attributes: &[
        acted("max_parallel"),
        acted("health_check"),
        acted("min_healthy_time"),
        acted("healthy_deadline"),
    ],
    blocks: &[],
    open: false,
};

static RESTART_NAMES: [Name; 5] = [
    acted("attempts"),
    acted("interval"),
    acted("delay"),
    acted("mode"),
    super::later("render_templates"),
];

pub(super) static RESTART: Schema = Schema { attributes: &RESTART_NAMES, blocks: &[], open: false };

/// `restart {}`, which groups and tasks have.
pub(super) const fn restart() -> Rule {
    one("restart", || &RESTART)
}
