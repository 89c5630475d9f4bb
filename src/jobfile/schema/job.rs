//! `job {}`, and the policies that jobs and groups share.

use super::{
    Attribute, Rule, Schema, any, choice, count, duration, flag, labelled, many, map, one, text,
    texts, whole,
};
use super::{group, material, task};

/// The highest priority; Nomad's default ceiling.
const MAX_PRIORITY: i64 = 100;

pub(super) static JOB: Schema = Schema {
    attributes: &[
        text("region", "Region").or("global"),
        text("namespace", "Namespace").or("default"),
        text("id", "ID"),
        text("name", "Name"),
        choice("type", "Type", &["service", "batch", "system", "sysbatch"]).or("service"),
        whole("priority", "Priority", 1, MAX_PRIORITY).or_whole(50),
        flag("all_at_once", "AllAtOnce"),
        texts("datacenters", "Datacenters"),
        text("node_pool", "NodePool").or("default"),
        text("vault_token", "@vault_token").gone(),
        text("consul_token", "@consul_token").gone(),
        text("nomad_token_id", "@nomad_token_id").gone(),
    ],
    blocks: &[
        many("constraint", "Constraints", || &CONSTRAINT),
        many("affinity", "Affinities", || &AFFINITY),
        labelled("group", "TaskGroups", "Name", || &group::GROUP),
        labelled("task", "@Tasks", "Name", || &task::TASK),
        one("update", "Update", || &UPDATE),
        one("multiregion", "Multiregion", || &MULTIREGION).later(),
        many("spread", "Spreads", || &SPREAD),
        one("periodic", "Periodic", || &PERIODIC),
        one("parameterized", "ParameterizedJob", || &PARAMETERIZED),
        one("reschedule", "Reschedule", || &RESCHEDULE),
        one("migrate", "Migrate", || &MIGRATE),
        map("meta", "Meta"),
        one("ui", "UI", || &UI),
        one("vault", "@Vault", || &material::VAULT).later(),
        labelled("secret", "@Secrets", "Name", || &material::SECRET).later(),
        one("gitops", "Gitops", || &GITOPS).left().ours(),
    ],
    open: false,
};

static GITOPS: Schema = Schema {
    attributes: &[flag("restart_on_meta", "RestartOnMeta").ours(), texts("after", "After").ours()],
    blocks: &[one("improve", "Improve", || &IMPROVE).left().ours()],
    open: false,
};

/// The most moves of a job within an hour that can be asked for.
const MAX_MOVES: i64 = 1_000;
/// Scores go from -1 to 1: the most by which one can be better, in hundredths.
const MAX_GAIN: i64 = 200;

static IMPROVE: Schema = Schema {
    attributes: &[
        whole("per_hour", "PerHour", 1, MAX_MOVES).or_whole(4).ours(),
        whole("gain", "Gain", 1, MAX_GAIN).or_whole(25).ours(),
    ],
    blocks: &[],
    open: false,
};

const SUGAR: [Attribute; 6] = [
    text("regexp", "@regexp"),
    text("version", "@version"),
    text("semver", "@semver"),
    text("set_contains", "@set_contains"),
    text("set_contains_all", "@set_contains_all"),
    text("set_contains_any", "@set_contains_any"),
];

/// A constraint's operator is checked with the job, because Nomad's own word for it is kept in JSON.
pub(super) static CONSTRAINT: Schema = Schema {
    attributes: &[
        text("attribute", "LTarget"),
        text("value", "RTarget"),
        text("operator", "Operand"),
        SUGAR[0],
        SUGAR[1],
        SUGAR[2],
        SUGAR[3],
        SUGAR[4],
        SUGAR[5],
        text("is_set", "@is_set"),
        text("is_not_set", "@is_not_set"),
        flag("distinct_hosts", "@distinct_hosts"),
        text("distinct_property", "@distinct_property"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static AFFINITY: Schema = Schema {
    attributes: &[
        text("attribute", "LTarget"),
        text("value", "RTarget"),
        text("operator", "Operand"),
        whole("weight", "Weight", -100, 100).or_whole(50),
        SUGAR[0],
        SUGAR[1],
        SUGAR[2],
        SUGAR[3],
        SUGAR[4],
        SUGAR[5],
    ],
    blocks: &[],
    open: false,
};

pub(super) static SPREAD: Schema = Schema {
    attributes: &[text("attribute", "Attribute"), whole("weight", "Weight", 0, 100).or_whole(50)],
    blocks: &[labelled("target", "SpreadTarget", "Value", || &TARGET)],
    open: false,
};

static TARGET: Schema =
    Schema { attributes: &[whole("percent", "Percent", 0, 100)], blocks: &[], open: false };

const HEALTH: [&str; 3] = ["checks", "task_states", "manual"];

/// For service and system jobs; a group's fields go over its job's.
pub(super) static UPDATE: Schema = Schema {
    attributes: &[
        duration("stagger", "Stagger").or_seconds(30).gone(),
        count("max_parallel", "MaxParallel").or_whole(1),
        choice("health_check", "HealthCheck", &HEALTH).or("checks"),
        duration("min_healthy_time", "MinHealthyTime").or_seconds(10),
        duration("healthy_deadline", "HealthyDeadline").or_seconds(300),
        duration("progress_deadline", "ProgressDeadline").or_seconds(600),
        count("canary", "Canary"),
        flag("auto_revert", "AutoRevert"),
        flag("auto_promote", "AutoPromote"),
    ],
    blocks: &[],
    open: false,
};

/// What is unset here depends on the type of job; see `canonical::policies`.
pub(super) static RESCHEDULE: Schema = Schema {
    attributes: &[
        count("attempts", "Attempts").or_null(),
        duration("interval", "Interval").or_null(),
        duration("delay", "Delay").or_null(),
        choice("delay_function", "DelayFunction", &["constant", "exponential", "fibonacci"])
            .or_null(),
        duration("max_delay", "MaxDelay").or_null(),
        flag("unlimited", "Unlimited").or_null(),
    ],
    blocks: &[],
    open: false,
};

pub(super) static MIGRATE: Schema = Schema {
    attributes: &[
        count("max_parallel", "MaxParallel").or_null(),
        choice("health_check", "HealthCheck", &["checks", "task_states"]).or_null(),
        duration("min_healthy_time", "MinHealthyTime").or_null(),
        duration("healthy_deadline", "HealthyDeadline").or_null(),
    ],
    blocks: &[],
    open: false,
};

/// What is unset here depends on the type of job; see `canonical::policies`.
pub(super) static RESTART: Schema = Schema {
    attributes: &[
        duration("interval", "Interval").or_null(),
        count("attempts", "Attempts").or_null(),
        duration("delay", "Delay").or_null(),
        choice("mode", "Mode", &["fail", "delay"]).or_null(),
        flag("render_templates", "RenderTemplates").or_null(),
    ],
    blocks: &[],
    open: false,
};

/// `restart {}`, which groups and tasks have.
pub(super) const fn restart() -> Rule {
    one("restart", "RestartPolicy", || &RESTART)
}

static PERIODIC: Schema = Schema {
    attributes: &[
        flag("enabled", "Enabled").or_flag(true),
        text("cron", "Spec").gone(),
        texts("crons", "Specs").or_empty(),
        flag("prohibit_overlap", "ProhibitOverlap"),
        text("time_zone", "TimeZone").or("UTC"),
    ],
    blocks: &[],
    open: false,
};

static PARAMETERIZED: Schema = Schema {
    attributes: &[
        choice("payload", "Payload", &["", "optional", "required", "forbidden"]).or("optional"),
        texts("meta_required", "MetaRequired"),
        texts("meta_optional", "MetaOptional"),
    ],
    blocks: &[],
    open: false,
};

static UI: Schema = Schema {
    attributes: &[text("description", "Description")],
    blocks: &[many("link", "Links", || &LINK)],
    open: false,
};

static LINK: Schema =
    Schema { attributes: &[text("label", "Label"), text("url", "URL")], blocks: &[], open: false };

static MULTIREGION: Schema = Schema {
    attributes: &[],
    blocks: &[
        one("strategy", "Strategy", || &STRATEGY).filled(),
        labelled("region", "Regions", "Name", || &REGION),
    ],
    open: false,
};

static STRATEGY: Schema = Schema {
    attributes: &[
        count("max_parallel", "MaxParallel"),
        choice("on_failure", "OnFailure", &["", "fail_all", "fail_local"]),
    ],
    blocks: &[],
    open: false,
};

static REGION: Schema = Schema {
    attributes: &[
        count("count", "Count").or_whole(1),
        texts("datacenters", "Datacenters").or_empty(),
        text("node_pool", "NodePool"),
    ],
    blocks: &[map("meta", "Meta").filled()],
    open: false,
};

/// Bounds of a group's count, or of a task's resources.
pub(super) static SCALING: Schema = Schema {
    attributes: &[
        whole("min", "Min", 0, i32::MAX as i64).or_null(),
        whole("max", "Max", 0, i32::MAX as i64).or_null(),
        flag("enabled", "Enabled").or_null(),
        text("type", "Type"),
    ],
    blocks: &[any("policy", "Policy")],
    open: false,
};
