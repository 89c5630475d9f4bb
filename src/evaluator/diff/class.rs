//! What each field's change makes of allocations that run, and why: one table (nomad.md 2.4).
//!
//! A change replaces allocations only where a running task could not take it on. Metadata is in place too, unless the
//! job says otherwise.

use model::wire::ChangeClass::{self, Destructive, InPlace, None as Nothing};

/// A row: where, what, why. The first that fits a change holds, and changes are listed in the order of their rows. `*`
/// stands for one step, `**` at the end for any number of them, none too.
pub(super) struct Row(pub(super) &'static str, pub(super) ChangeClass, pub(super) &'static str);

const TOGETHER: &str = "the tasks of an allocation are placed, started and stopped together";
const NETWORK: &str = "a running allocation cannot change its network and ports";
const PROCESS: &str = "a running process cannot change its command";
const SHARE: &str = "a task's share of its node is fixed when it starts";
const CATALOG: &str = "the catalog and the checks follow without a restart";
const PLACEMENT: &str =
    "where an allocation may run is checked again, and only one that may not stay moves";
const NEXT_PLACEMENT: &str = "read when the next allocation is placed";
const NEXT_UPDATE: &str = "read when allocations are updated next";
const NEXT_FAILURE: &str = "read when a task or allocation fails next";
const NEXT_STOP: &str = "read when a task is stopped next";
const WATCHED: &str = "whoever watches the job reads it from there";
const NAMES: &str = "what runs does not depend on it";
const STARTS: &str = "only new runs of the job read it";
const BASE: &str = "each group holds what comes of it";
const META: &str =
    "metadata alone does not restart what runs; `gitops { restart_on_meta = true }` makes it";
/// The reason of changes of what is in a mesh.
pub(super) const MESH: &str = "a running proxy cannot change how it is joined to the mesh";

/// The reason of a change of metadata that replaces.
pub(super) const META_RESTARTS: &str = "the job asks for a restart when metadata changes";
/// The reason of what only looks like a change.
pub(super) const SAME: &str = "it means the same as before";

/// The whole table.
pub(super) const TABLE: &[Row] = &[
    // What an allocation is made of.
    Row("group/Tasks", Destructive, TOGETHER),
    Row("group/EphemeralDisk/**", Destructive, "an allocation's directory is made with its disk"),
    Row("group/Networks/MBits", InPlace, "bandwidth is not enforced"),
    Row("group/Networks/Device", InPlace, "the device of a network is not chosen by the job"),
    Row("group/Networks/CIDR", InPlace, "the address of a network is not chosen by the job"),
    Row("group/Networks/IP", InPlace, "the address of a network is not chosen by the job"),
    Row("group/Networks/ReservedPorts/IgnoreCollision", InPlace, NEXT_PLACEMENT),
    Row("group/Networks/DynamicPorts/IgnoreCollision", InPlace, NEXT_PLACEMENT),
    Row("group/Networks/**", Destructive, NETWORK),
    Row("group/Consul/**", Destructive, "a running allocation cannot move to another catalog"),
    Row("group/Volumes/**", Destructive, "volumes are mounted before an allocation's tasks start"),
    Row(
        "group/RestartPolicy/RenderTemplates",
        Destructive,
        "how templates are rendered is fixed when a task starts",
    ),
    Row("*/Services/Connect/SidecarService", Destructive, MESH),
    Row("*/Services/Connect/SidecarService/Port", Destructive, MESH),
    Row("*/Services/Connect/SidecarService/**", InPlace, "the proxy follows the catalog"),
    Row("*/Services/Connect/**", Destructive, MESH),
    // What a task is.
    Row("task/Driver", Destructive, "another driver cannot take over a running task"),
    Row("task/User", Destructive, "a running process cannot change its user"),
    Row("task/Config/image", Destructive, "a running container cannot change its image"),
    Row("task/Config/command", Destructive, PROCESS),
    Row("task/Config/args", Destructive, PROCESS),
    Row("task/Config/**", Destructive, "a driver reads its settings when it starts a task"),
    Row("task/Env/*", Destructive, "a running process cannot change its environment"),
    Row("task/Artifacts/**", Destructive, "artifacts are fetched before a task starts"),
    Row("task/Vault/**", Destructive, "a task's access to secrets is fixed when it starts"),
    Row("task/Secrets/**", Destructive, "secrets are read before a task starts"),
    Row("task/Consul/**", Destructive, "a running task cannot move to another catalog"),
    Row("task/Templates/**", Destructive, "templates are rendered before a task starts"),
    Row("task/CSIPluginConfig/**", Destructive, "a running plugin cannot change what it offers"),
    Row("task/VolumeMounts/**", Destructive, "volumes are mounted before a task starts"),
    Row("task/Resources", Destructive, SHARE),
    Row("task/Resources/CPU", Destructive, SHARE),
    Row("task/Resources/Cores", Destructive, SHARE),
    Row("task/Resources/MemoryMB", Destructive, SHARE),
    Row("task/Resources/MemoryMaxMB", Destructive, SHARE),
    Row("task/Resources/Devices/**", Destructive, SHARE),
    Row("task/Resources/NUMA/**", Destructive, SHARE),
    Row("task/Resources/SecretsMB", Destructive, SHARE),
    Row("task/Resources/Networks/**", Destructive, NETWORK),
    Row("task/Resources/DiskMB", InPlace, "the disk of a group counts, not a task's"),
    Row("task/Resources/IOPS", InPlace, "it is not enforced"),
    Row("task/Identity/**", Destructive, "a task's identity is given to it when it starts"),
    Row("task/Identities/**", Destructive, "a task's identity is given to it when it starts"),
    Row(
        "task/RestartPolicy/RenderTemplates",
        Destructive,
        "how templates are rendered is fixed when a task starts",
    ),
    Row(
        "task/LogConfig/Disabled",
        Destructive,
        "whether logs are collected is settled when a task starts",
    ),
    // What is read while it runs.
    Row("group/Count", InPlace, "allocations come or go, and the others stay"),
    Row("task/Lifecycle/**", InPlace, "read when a task starts or stops next"),
    Row("task/KillTimeout", InPlace, NEXT_STOP),
    Row("task/KillSignal", InPlace, NEXT_STOP),
    Row("task/ShutdownDelay", InPlace, NEXT_STOP),
    Row("task/Leader", InPlace, NEXT_STOP),
    Row("task/Kind", InPlace, NAMES),
    Row("task/LogConfig/**", InPlace, "logs are rotated by it from now on"),
    Row("task/RestartPolicy/**", InPlace, NEXT_FAILURE),
    Row("task/Constraints/**", InPlace, PLACEMENT),
    Row("task/Affinities/**", InPlace, NEXT_PLACEMENT),
    Row("task/ScalingPolicies/**", InPlace, WATCHED),
    Row("task/Actions/**", InPlace, "read when somebody runs an action"),
    Row("task/DispatchPayload/**", InPlace, STARTS),
    Row("task/Schedule/**", InPlace, WATCHED),
    Row("task/Services/**", InPlace, CATALOG),
    Row("task/Meta/*", InPlace, META),
    Row("group/Constraints/**", InPlace, PLACEMENT),
    Row("group/Affinities/**", InPlace, NEXT_PLACEMENT),
    Row("group/Spreads/**", InPlace, NEXT_PLACEMENT),
    Row("group/RestartPolicy/**", InPlace, NEXT_FAILURE),
    Row("group/Disconnect/**", InPlace, "read when a node is lost next"),
    Row("group/ReschedulePolicy/**", InPlace, NEXT_FAILURE),
    Row("group/Update/**", InPlace, NEXT_UPDATE),
    Row("group/Migrate/**", InPlace, "read when a node is drained next"),
    Row("group/Meta/*", InPlace, META),
    Row("group/Services/**", InPlace, CATALOG),
    Row("group/ShutdownDelay", InPlace, NEXT_STOP),
    Row("group/MaxRunDuration", InPlace, "the time already run counts"),
    Row("group/StopAfterClientDisconnect", InPlace, "read when a node is lost next"),
    Row("group/MaxClientDisconnect", InPlace, "read when a node is lost next"),
    Row("group/PreventRescheduleOnLost", InPlace, "read when a node is lost next"),
    Row("group/Scaling/**", InPlace, WATCHED),
    // The job as a whole.
    Row("job/Meta/*", InPlace, META),
    Row("job/Priority", InPlace, NEXT_PLACEMENT),
    Row("job/AllAtOnce", InPlace, NEXT_PLACEMENT),
    Row("job/Datacenters", InPlace, PLACEMENT),
    Row("job/NodePool", InPlace, PLACEMENT),
    Row("job/Constraints/**", InPlace, PLACEMENT),
    Row("job/Affinities/**", InPlace, NEXT_PLACEMENT),
    Row("job/Spreads/**", InPlace, NEXT_PLACEMENT),
    Row("job/Type", InPlace, "what runs is kept as the new type keeps it"),
    Row("job/Name", InPlace, NAMES),
    Row("job/Namespace", InPlace, NAMES),
    Row("job/Region", InPlace, NAMES),
    Row("job/Gitops/Improve/**", InPlace, "read when placements are looked at next"),
    Row("job/Gitops/**", InPlace, "read when the next change is planned"),
    Row("job/Multiregion/**", Nothing, "there is one region"),
    Row("job/Periodic/**", Nothing, STARTS),
    Row("job/ParameterizedJob/**", Nothing, STARTS),
    Row("job/Update/**", Nothing, BASE),
    Row("job/Reschedule/**", Nothing, BASE),
    Row("job/Migrate/**", Nothing, BASE),
    Row("job/UI/**", Nothing, "only people read it"),
];

/// The row of a place, and its number. What is in none is taken to be in place; a test holds that all fields are in one.
pub(super) fn row<'a>(
    scope: &'a str,
    steps: impl Iterator<Item = &'a str>,
) -> (usize, &'static Row) {
    const OTHER: &Row = &Row("**", InPlace, NAMES);
    let place: Vec<&str> = std::iter::once(scope).chain(steps).collect();
    let found = TABLE.iter().enumerate().find(|(_, row)| fits(row.0, &place));
    found.unwrap_or((TABLE.len(), OTHER))
}

fn fits(pattern: &str, place: &[&str]) -> bool {
    let mut place = place.iter();
    for part in pattern.split('/') {
        if part == "**" {
            return true;
        }
        if place.next().is_none_or(|step| part != "*" && part != *step) {
            return false;
        }
    }
    place.next().is_none()
}

/// Whether two values of a field mean the same although they are written otherwise.
pub(super) fn means_the_same(scope: &str, steps: &[&str], old: &str, new: &str) -> bool {
    let plain = |default: &'static str| move |value: &str| value.is_empty() || value == default;
    let same = |is_default: &dyn Fn(&str) -> bool| is_default(old) && is_default(new);
    match (scope, steps) {
        ("group", ["Networks", "Mode"]) => same(&plain("host")),
        ("group", ["Networks", "ReservedPorts" | "DynamicPorts", "HostNetwork"]) => {
            same(&plain("default"))
        }
        _ => false,
    }
}
