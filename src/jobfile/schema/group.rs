//! `group {}`.

use super::job::{AFFINITY, CONSTRAINT, MIGRATE, RESCHEDULE, SCALING, SPREAD, UPDATE, restart};
use super::{
    Schema, choice, count, duration, flag, keyed, labelled, many, map, one, text, texts, whole,
};
use super::{material, network, service, task};

pub(super) static GROUP: Schema = Schema {
    attributes: &[
        count("count", "Count").or_null(),
        duration("shutdown_delay", "ShutdownDelay").or_null(),
        duration("max_run_duration", "MaxRunDuration").or_null(),
        duration("stop_after_client_disconnect", "StopAfterClientDisconnect").or_null().gone(),
        duration("max_client_disconnect", "MaxClientDisconnect").or_null().gone(),
        flag("prevent_reschedule_on_lost", "PreventRescheduleOnLost").or_null().gone(),
    ],
    blocks: &[
        many("constraint", "Constraints", || &CONSTRAINT),
        many("affinity", "Affinities", || &AFFINITY),
        labelled("task", "Tasks", "Name", || &task::TASK),
        many("spread", "Spreads", || &SPREAD),
        keyed("volume", "Volumes", "Name", || &VOLUME),
        restart(),
        one("disconnect", "Disconnect", || &DISCONNECT),
        one("reschedule", "ReschedulePolicy", || &RESCHEDULE),
        one("ephemeral_disk", "EphemeralDisk", || &EPHEMERAL_DISK).filled(),
        one("update", "Update", || &UPDATE),
        one("migrate", "Migrate", || &MIGRATE),
        many("network", "Networks", || &network::NETWORK),
        map("meta", "Meta"),
        many("service", "Services", || &service::SERVICE),
        one("scaling", "Scaling", || &SCALING).later(),
        one("consul", "Consul", || &material::CONSUL).later(),
        one("vault", "@Vault", || &material::VAULT).later(),
        labelled("secret", "@Secrets", "Name", || &material::SECRET).later(),
    ],
    open: false,
};

static EPHEMERAL_DISK: Schema = Schema {
    attributes: &[
        flag("sticky", "Sticky"),
        flag("migrate", "Migrate").later(),
        whole("size", "SizeMB", 0, i64::MAX).or_whole(300),
    ],
    blocks: &[],
    open: false,
};

static DISCONNECT: Schema = Schema {
    attributes: &[
        duration("lost_after", "LostAfter").or_null(),
        duration("stop_on_client_after", "StopOnClientAfter").or_null(),
        flag("replace", "Replace").or_flag(true),
        choice(
            "reconcile",
            "Reconcile",
            &["best_score", "keep_original", "keep_replacement", "longest_running"],
        )
        .or("best_score"),
    ],
    blocks: &[],
    open: false,
};

static VOLUME: Schema = Schema {
    attributes: &[
        choice("type", "Type", &["host", "csi"]).required("write type = \"host\" or \"csi\""),
        text("source", "Source").required("name the volume that the node or the plugin has"),
        flag("read_only", "ReadOnly"),
        flag("sticky", "Sticky"),
        text("access_mode", "AccessMode"),
        text("attachment_mode", "AttachmentMode"),
        flag("per_alloc", "PerAlloc"),
    ],
    blocks: &[one("mount_options", "MountOptions", || &MOUNT_OPTIONS)],
    open: false,
};

static MOUNT_OPTIONS: Schema = Schema {
    attributes: &[text("fs_type", "FSType"), texts("mount_flags", "MountFlags")],
    blocks: &[],
    open: false,
};
