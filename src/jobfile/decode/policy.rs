//! `update`, `restart`, `reschedule` and `migrate`. Each overlays what it inherits, field by field.

use model::{DelayFunction, Migrate, Reschedule, Restart, RestartMode, Update, UpdateHealth};

use super::reader::Reader;

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

const HEALTH: [(&str, UpdateHealth); 3] = [
    ("checks", UpdateHealth::Checks),
    ("task_states", UpdateHealth::TaskStates),
    ("manual", UpdateHealth::Manual),
];

/// Overlays `update {}`.
pub(super) fn update(parent: &Reader<'_>, base: &mut Update) {
    let Some(reader) = parent.block("update") else { return };
    set(&mut base.max_parallel, reader.count("max_parallel"));
    set(&mut base.health_check, reader.choice("health_check", &HEALTH));
    set(&mut base.min_healthy_time, reader.duration("min_healthy_time"));
    set(&mut base.healthy_deadline, reader.duration("healthy_deadline"));
    set(&mut base.progress_deadline, reader.duration("progress_deadline"));
    set(&mut base.auto_revert, reader.flag("auto_revert"));
    set(&mut base.auto_promote, reader.flag("auto_promote"));
    set(&mut base.canary, reader.count("canary"));
    set(&mut base.stagger, reader.duration("stagger"));
}

/// Overlays `restart {}`; says whether there is one.
pub(super) fn restart(parent: &Reader<'_>, base: &mut Restart) -> bool {
    let Some(reader) = parent.block("restart") else { return false };
    let modes = [("fail", RestartMode::Fail), ("delay", RestartMode::Delay)];
    set(&mut base.attempts, reader.count("attempts"));
    set(&mut base.interval, reader.duration("interval"));
    set(&mut base.delay, reader.duration("delay"));
    set(&mut base.mode, reader.choice("mode", &modes));
    true
}

/// Overlays `reschedule {}`.
pub(super) fn reschedule(parent: &Reader<'_>, base: &mut Reschedule) {
    let Some(reader) = parent.block("reschedule") else { return };
    let functions = [
        ("constant", DelayFunction::Constant),
        ("exponential", DelayFunction::Exponential),
        ("fibonacci", DelayFunction::Fibonacci),
    ];
    set(&mut base.attempts, reader.count("attempts"));
    set(&mut base.interval, reader.duration("interval"));
    set(&mut base.delay, reader.duration("delay"));
    set(&mut base.delay_function, reader.choice("delay_function", &functions));
    set(&mut base.max_delay, reader.duration("max_delay"));
    match reader.flag("unlimited") {
        Some(unlimited) => {
            base.unlimited = unlimited;
            // An inherited number of attempts does not limit what is said to be unlimited here.
            if unlimited && !reader.is_set("attempts") {
                base.attempts = 0;
            }
        }
        // Whoever gives a number of attempts means it as the limit; Nomad refuses the file instead.
        None if reader.is_set("attempts") && base.attempts > 0 => base.unlimited = false,
        None => {}
    }
}

/// Overlays `migrate {}`.
pub(super) fn migrate(parent: &Reader<'_>, base: &mut Migrate) {
    let Some(reader) = parent.block("migrate") else { return };
    set(&mut base.max_parallel, reader.count("max_parallel"));
    let health = HEALTH.get(..2).unwrap_or(&HEALTH);
    set(&mut base.health_check, reader.choice("health_check", health));
    set(&mut base.min_healthy_time, reader.duration("min_healthy_time"));
    set(&mut base.healthy_deadline, reader.duration("healthy_deadline"));
}
