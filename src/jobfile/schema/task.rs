//! `task {}`.

use super::job::{AFFINITY, CONSTRAINT, SCALING, restart};
use super::{Schema, any, choice, duration, flag, labelled, many, map, one, text, texts, whole};
use super::{material, network, service};

pub(super) static TASK: Schema = Schema {
    attributes: &[
        text("driver", "Driver")
            .required("say what runs it: driver = \"docker\", \"exec\" or \"raw_exec\""),
        text("user", "User"),
        duration("kill_timeout", "KillTimeout").or_seconds(5),
        flag("leader", "Leader"),
        duration("shutdown_delay", "ShutdownDelay"),
        text("kill_signal", "KillSignal"),
        text("kind", "Kind").later(),
    ],
    blocks: &[
        one("lifecycle", "Lifecycle", || &LIFECYCLE),
        any("config", "Config"),
        many("constraint", "Constraints", || &CONSTRAINT),
        many("affinity", "Affinities", || &AFFINITY),
        map("env", "Env"),
        many("service", "Services", || &service::SERVICE),
        one("resources", "Resources", || &RESOURCES).filled(),
        restart(),
        map("meta", "Meta"),
        one("logs", "LogConfig", || &LOGS).filled(),
        many("artifact", "Artifacts", || &material::ARTIFACT),
        one("vault", "Vault", || &material::VAULT).later(),
        one("consul", "Consul", || &material::CONSUL).later(),
        many("template", "Templates", || &material::TEMPLATE),
        one("dispatch_payload", "DispatchPayload", || &DISPATCH_PAYLOAD),
        many("volume_mount", "VolumeMounts", || &VOLUME_MOUNT),
        one("csi_plugin", "CSIPluginConfig", || &CSI_PLUGIN).left().later(),
        labelled("scaling", "ScalingPolicies", "@label", || &SCALING).later(),
        labelled("secret", "Secrets", "Name", || &material::SECRET).later(),
        many("identity", "Identities", || &material::IDENTITY).later(),
        labelled("action", "Actions", "Name", || &ACTION).later(),
        one("schedule", "Schedule", || &SCHEDULE).later(),
    ],
    open: false,
};

/// Unset `cpu` is 100 unless `cores` is set.
pub(super) static RESOURCES: Schema = Schema {
    attributes: &[
        whole("cpu", "CPU", 0, i32::MAX as i64).or_null(),
        whole("cores", "Cores", 0, 4096),
        whole("memory", "MemoryMB", 1, i32::MAX as i64).or_whole(300),
        whole("memory_max", "MemoryMaxMB", -1, i32::MAX as i64).or_null(),
        whole("disk", "DiskMB", 0, i32::MAX as i64).or_null().gone(),
        whole("secrets", "SecretsMB", 0, i32::MAX as i64).or_null(),
        whole("iops", "IOPS", 0, i32::MAX as i64).or_null().gone(),
    ],
    blocks: &[
        many("network", "Networks", || &network::NETWORK).gone(),
        labelled("device", "Devices", "Name", || &DEVICE),
        one("numa", "NUMA", || &NUMA).later(),
    ],
    open: false,
};

static DEVICE: Schema = Schema {
    attributes: &[whole("count", "Count", 0, i32::MAX as i64).or_whole(1)],
    blocks: &[
        many("constraint", "Constraints", || &CONSTRAINT),
        many("affinity", "Affinities", || &AFFINITY),
    ],
    open: false,
};

static NUMA: Schema = Schema {
    attributes: &[
        choice("affinity", "Affinity", &["", "none", "prefer", "require"]).or("none"),
        texts("devices", "Devices"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static LOGS: Schema = Schema {
    attributes: &[
        whole("max_files", "MaxFiles", 1, 1000).or_whole(10),
        whole("max_file_size", "MaxFileSizeMB", 1, i32::MAX as i64).or_whole(10),
        flag("enabled", "Enabled").or_null().gone(),
        flag("disabled", "Disabled"),
    ],
    blocks: &[],
    open: false,
};

static LIFECYCLE: Schema = Schema {
    attributes: &[
        choice("hook", "Hook", &["prestart", "poststart", "poststop"])
            .required("one of prestart, poststart, poststop"),
        flag("sidecar", "Sidecar"),
    ],
    blocks: &[],
    open: false,
};

static DISPATCH_PAYLOAD: Schema =
    Schema { attributes: &[text("file", "File")], blocks: &[], open: false };

pub(super) static VOLUME_MOUNT: Schema = Schema {
    attributes: &[
        text("volume", "Volume").or_null().required("name the group's volume"),
        text("destination", "Destination").or_null().required("the path in the task"),
        flag("read_only", "ReadOnly"),
        choice(
            "propagation_mode",
            "PropagationMode",
            &["private", "host-to-task", "bidirectional"],
        )
        .or("private"),
        text("selinux_label", "SELinuxLabel"),
    ],
    blocks: &[],
    open: false,
};

static CSI_PLUGIN: Schema = Schema {
    attributes: &[
        text("id", "ID").required("the plugin's ID"),
        choice("type", "Type", &["node", "controller", "monolith"])
            .required("one of node, controller, monolith"),
        text("mount_dir", "MountDir").or("/csi"),
        text("stage_publish_base_dir", "StagePublishBaseDir").or("/local/csi"),
        duration("health_timeout", "HealthTimeout").or_seconds(30),
    ],
    blocks: &[],
    open: false,
};

static ACTION: Schema = Schema {
    attributes: &[
        text("command", "Command").required("the command that people may run"),
        texts("args", "Args"),
    ],
    blocks: &[],
    open: false,
};

static SCHEDULE: Schema =
    Schema { attributes: &[], blocks: &[one("cron", "Cron", || &SCHEDULE_CRON)], open: false };

static SCHEDULE_CRON: Schema = Schema {
    attributes: &[text("start", "Start"), text("end", "End"), text("timezone", "Timezone")],
    blocks: &[],
    open: false,
};
