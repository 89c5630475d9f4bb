//! What a task asks of its node.

use model::Task;

use super::{Rules, constraint, placement};

/// The least memory, in megabytes.
const MIN_MEMORY: u64 = 10;

pub(super) fn check(rules: &Rules<'_>, path: &str, task: &Task) {
    let resources = &task.resources;
    let path = format!("{path}/resources");
    let own = |name: &str| format!("{path}/{name}");
    if resources.cores == 0 && resources.cpu == 0 {
        let help = "the number is megahertz of the node's cores";
        rules.error("out-of-range", &own("cpu"), "`cpu` must be at least 1, this is 0", help);
    }
    if resources.cores > 0 && resources.cpu > 0 {
        let message = "`cpu` and `cores` exclude each other";
        let cores = (own("cores"), "cores are asked for here");
        let help = "megahertz of the node's cores, or whole cores for the task alone";
        rules.error_also("invalid-resources", &own("cpu"), message, help, cores);
    }
    let memory = resources.memory_mb;
    if memory < MIN_MEMORY {
        let message = format!("a task needs {MIN_MEMORY} MB of memory at least, this has {memory}");
        let help = "the number is megabytes";
        rules.error("out-of-range", &own("memory"), message, help);
    }
    let max = resources.memory_max_mb;
    // A `memory` that could not be read has been put to its default.
    if max > 0 && max.cast_unsigned() < memory && rules.places.is_whole(&path) {
        let message = format!("`memory_max` ({max}) must not be less than `memory` ({memory})");
        rules.error(
            "out-of-range",
            &own("memory_max"),
            message,
            "it is the limit above `memory`; -1 for none",
        );
    }
    if resources.secrets_mb > memory {
        let message = format!(
            "`secrets` ({}) must not be more than `memory` ({memory})",
            resources.secrets_mb
        );
        rules.error("out-of-range", &own("secrets"), message, "the folder lies in memory");
    }
    for (n, device) in resources.devices.iter().enumerate() {
        let place = format!("{path}/device.{n}");
        if device.name.is_empty() && rules.places.is_labelled(&place) {
            let message = "`device` needs a name";
            let help = "its type, `vendor/type` or `vendor/type/name`: device \"nvidia/gpu\" {}";
            rules.error("invalid-name", &place, message, help);
        }
        if device.count == 0 {
            let message = "`count` of a device must be 1 or more";
            rules.error("out-of-range", &format!("{place}/count"), message, "");
        }
        constraint::check(rules, &place, &device.constraints, false);
        placement::affinities(rules, &place, &device.affinities);
    }
    if let Some(numa) = &resources.numa {
        for wanted in &numa.devices {
            if !resources.devices.iter().any(|device| device.name == *wanted) {
                let message = format!("the task asks for no device `{wanted}`");
                let help = format!("add device \"{wanted}\" {{}} to `resources`");
                rules.error("invalid-resources", &own("numa/devices"), message, &help);
            }
        }
    }
}
