//! Volumes of groups, and where their tasks see them.

use model::{Group, Task, VolumeRequest};

use super::{Rules, policy};
use crate::suggest::did_you_mean;

const HOST_MODES: [&str; 4] = [
    "single-node-reader-only",
    "single-node-writer",
    "single-node-single-writer",
    "single-node-multi-writer",
];
const CSI_MODES: [&str; 5] = [
    "single-node-reader-only",
    "single-node-writer",
    "multi-node-reader-only",
    "multi-node-single-writer",
    "multi-node-multi-writer",
];
const ATTACHMENT_MODES: [&str; 2] = ["file-system", "block-device"];

pub(super) fn check(rules: &Rules<'_>, path: &str, group: &Group) {
    for volume in group.volumes.values() {
        let block = format!("{path}/volume/{}", volume.name);
        if volume.kind == "csi" {
            csi(rules, &block, volume)
        } else {
            host(rules, &block, volume)
        }
        if volume.per_alloc {
            per_alloc(rules, path, &block, group, volume);
        }
    }
}

fn mode(rules: &Rules<'_>, block: &str, name: &str, value: &str, known: &[&str], kind: &str) {
    if value.is_empty() || known.contains(&value) {
        return;
    }
    let message = format!(
        "`{name}` of a {kind} volume cannot be `{value}`; it is one of {}",
        known.join(", ")
    );
    let help = did_you_mean(value, known.iter().copied()).unwrap_or_default();
    rules.error("invalid-volume", &format!("{block}/{name}"), message, &help);
}

fn host(rules: &Rules<'_>, block: &str, volume: &VolumeRequest) {
    mode(rules, block, "access_mode", &volume.access_mode, &HOST_MODES, "host");
    mode(rules, block, "attachment_mode", &volume.attachment_mode, &ATTACHMENT_MODES, "host");
    if volume.mount_options.is_some() {
        let message = "a host volume has no `mount_options`";
        let help = "the node mounts it before the task starts: delete the block";
        rules.error("invalid-volume", &format!("{block}/mount_options"), message, help);
    }
}

fn csi(rules: &Rules<'_>, block: &str, volume: &VolumeRequest) {
    let message = "volumes of type csi are not acted on yet";
    let help = "no volume is looked for when a node is chosen, and none is mounted";
    rules.once("not-acted-on", "volume/csi", &format!("{block}/type"), message, help);
    for (name, value, known) in [
        ("access_mode", &volume.access_mode, &CSI_MODES[..]),
        ("attachment_mode", &volume.attachment_mode, &ATTACHMENT_MODES[..]),
    ] {
        if value.is_empty() && rules.places.is_whole(block) {
            let message = format!("a csi volume needs `{name}`");
            let help = format!("one of {}", known.join(", "));
            rules.error("missing-attribute", block, message, &help);
        }
        mode(rules, block, name, value, known, "csi");
    }
    if volume.access_mode.ends_with("reader-only") && !volume.read_only {
        let message = format!("a volume with `{}` must be read only", volume.access_mode);
        let place = format!("{block}/access_mode");
        rules.error("invalid-volume", &place, message, "write read_only = true");
    }
    if volume.sticky {
        let message = "`sticky` has no effect on a csi volume, which can follow the allocation";
        rules.warning("no-effect", &format!("{block}/sticky"), message, "delete it");
    }
}

fn per_alloc(rules: &Rules<'_>, path: &str, block: &str, group: &Group, volume: &VolumeRequest) {
    let place = format!("{block}/per_alloc");
    let error = |message: &str, help: &str| rules.error("invalid-volume", &place, message, help);
    if rules.job.kind.per_node() {
        let message =
            format!("{} jobs have no volume for each allocation", rules.job.kind.as_str());
        error(&message, "their allocations are not numbered: delete `per_alloc`");
    }
    if volume.sticky {
        error("`per_alloc` and `sticky` exclude each other", "keep one of them");
    }
    if group.update.as_ref().is_some_and(|update| update.canary > 0) {
        let message = "`per_alloc` and canaries exclude each other";
        let canary =
            (format!("{}/canary", policy::written(rules, path, "update")), "canaries here");
        let help = "a canary would want the volume of the allocation that it stands beside";
        rules.error_also("invalid-volume", &place, message, help, canary);
    }
}

pub(super) fn mounts(rules: &Rules<'_>, path: &str, group: &Group, task: &Task) {
    for (n, mount) in task.volume_mounts.iter().enumerate() {
        let block = format!("{path}/volume_mount.{n}");
        if let Some(name) = mount.volume.as_deref() {
            if name.is_empty() {
                let message = "`volume` is empty";
                rules.error("missing-attribute", &format!("{block}/volume"), message, "");
            } else if !group.volumes.contains_key(name) && !name.contains("${") {
                let known = group.volumes.keys().map(String::as_str);
                let help = rules.sink.seek(|| {
                    did_you_mean(name, known).unwrap_or_else(|| {
                        format!("add to the group: volume \"{name}\" {{ type = \"host\", source = … }}, on lines of their own")
                    })
                });
                let message = format!("the group has no volume `{name}`");
                rules.error("unknown-volume", &format!("{block}/volume"), message, &help);
            }
        }
        let known = mount.volume.as_deref().and_then(|name| group.volumes.get(name));
        if task.driver == "raw_exec" && known.is_some_and(|volume| volume.kind == "host") {
            let message = "raw_exec cannot mount a volume: its tasks see the node's own files";
            let help = "use the path itself, or another driver";
            rules.error("invalid-volume", &format!("{block}/volume"), message, help);
        }
        if !matches!(mount.selinux_label.as_str(), "" | "z" | "Z") {
            let message =
                format!("`selinux_label` is \"z\" or \"Z\", this is \"{}\"", mount.selinux_label);
            let help = "z: shared with other containers, Z: for this one alone";
            rules.error("invalid-value", &format!("{block}/selinux_label"), message, help);
        }
    }
}
