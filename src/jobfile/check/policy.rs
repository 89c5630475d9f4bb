//! Updates, restarts, reschedules and migrations.

use std::time::Duration;

use model::{Group, JobType, Migrate, Reschedule, Restart, RestartMode, Update, format_duration};

use super::Rules;
use crate::report::Fault;

pub(super) fn no_update(rules: &Rules<'_>, path: &str) {
    let message = format!("{} jobs have no `update`", rules.job.kind.as_str());
    rules.error("invalid-update", path, message, "they run to completion: delete the block");
}

/// Nomad refuses it in some of these jobs and passes over it in others; nothing is lost without it.
pub(super) fn no_reschedule(rules: &Rules<'_>, path: &str) {
    let message = format!("`reschedule` has no effect in {} jobs", rules.job.kind.as_str());
    let fault = Fault::new("no-effect", rules.places.at(path), message);
    rules.sink.warning(fault.help("they stay on their nodes: delete the block"));
}

/// What is wrong with an inherited policy is said where it is written: at the group, else at the job.
fn written(rules: &Rules<'_>, group: &str, block: &str) -> String {
    let own = format!("{group}/{block}");
    if rules.places.has(&own) { own } else { format!("job/{block}") }
}

pub(super) fn check(rules: &Rules<'_>, path: &str, group: &Group) {
    let kind = rules.job.kind;
    let has = |block: &str| rules.places.has(&format!("{path}/{block}"));
    if has("update") && matches!(kind, JobType::Batch | JobType::Sysbatch) {
        no_update(rules, &format!("{path}/update"));
    }
    if has("reschedule") && kind.per_node() {
        no_reschedule(rules, &format!("{path}/reschedule"));
    }
    for block in [format!("{path}/migrate"), "job/migrate".to_owned()] {
        if rules.places.has(&block) && kind != JobType::Service {
            let message = format!("{} jobs have no `migrate`", kind.as_str());
            rules.error("invalid-migrate", &block, message, "only services are moved one by one");
        }
    }
    if let Some(update) = &group.update {
        check_update(rules, path, update);
    }
    if let Some(migrate) = &group.migrate {
        check_migrate(rules, &written(rules, path, "migrate"), migrate);
    }
    if let Some(reschedule) = &group.reschedule_policy {
        check_reschedule(rules, &written(rules, path, "reschedule"), reschedule);
    }
    check_restart(rules, &format!("{path}/restart"), &group.restart_policy);
}

fn before(
    rules: &Rules<'_>,
    block: &str,
    code: &'static str,
    (short, short_is): (&str, Duration),
    (long, long_is): (&str, Duration),
) {
    if short_is < long_is {
        return;
    }
    let (a, b) = (format_duration(short_is), format_duration(long_is));
    let own = format!("{block}/{short}");
    let path = if rules.places.has(&own) { own } else { format!("{block}/{long}") };
    rules.error(code, &path, format!("`{short}` ({a}) must be shorter than `{long}` ({b})"), "");
}

fn check_update(rules: &Rules<'_>, group: &str, update: &Update) {
    let block = written(rules, group, "update");
    let code = "invalid-update";
    let deadline = ("healthy_deadline", update.healthy_deadline);
    before(rules, &block, code, ("min_healthy_time", update.min_healthy_time), deadline);
    if !update.progress_deadline.is_zero() {
        before(rules, &block, code, deadline, ("progress_deadline", update.progress_deadline));
    }
    if update.auto_promote && update.canary == 0 {
        let message = "`auto_promote` needs canaries to promote";
        rules.error(code, &format!("{block}/auto_promote"), message, "set canary = 1 or more");
    }
}

fn check_migrate(rules: &Rules<'_>, block: &str, migrate: &Migrate) {
    // Nomad lets the two be the same here, and only here.
    if migrate.min_healthy_time == migrate.healthy_deadline {
        return;
    }
    let deadline = ("healthy_deadline", migrate.healthy_deadline);
    before(
        rules,
        block,
        "invalid-migrate",
        ("min_healthy_time", migrate.min_healthy_time),
        deadline,
    );
}

fn check_reschedule(rules: &Rules<'_>, block: &str, reschedule: &Reschedule) {
    let Reschedule { attempts, interval, delay, unlimited, .. } = reschedule;
    let error = |name: &str, message: String, help: &str| {
        rules.error("invalid-reschedule", &format!("{block}/{name}"), message, help);
    };
    if *attempts == 0 && !unlimited {
        return;
    }
    if *attempts > 0 && *unlimited {
        let help = "set one of them";
        error(
            "attempts",
            "`attempts` limits what `unlimited` says is not limited".to_owned(),
            help,
        );
        return;
    }
    if *delay < Duration::from_secs(5) {
        error(
            "delay",
            format!("`delay` must be at least 5s, this is {}", format_duration(*delay)),
            "",
        );
    }
    if !unlimited && *interval < Duration::from_secs(15) {
        let is = format_duration(*interval);
        error("interval", format!("`interval` must be at least 15s, this is {is}"), "");
    }
    if reschedule.delay_function != model::DelayFunction::Constant && reschedule.max_delay < *delay
    {
        let (max, delay) = (format_duration(reschedule.max_delay), format_duration(*delay));
        let message = format!("`max_delay` ({max}) must not be shorter than `delay` ({delay})");
        error("max_delay", message, "");
    }
}

pub(super) fn check_restart(rules: &Rules<'_>, block: &str, restart: &Restart) {
    let error = |name: &str, message: String, help: &str| {
        rules.error("invalid-restart", &format!("{block}/{name}"), message, help);
    };
    if restart.attempts == 0 && restart.mode == RestartMode::Delay {
        let help = "set attempts = 1 or more, or mode = \"fail\"";
        error("mode", "`mode = \"delay\"` needs attempts to wait for".to_owned(), help);
    }
    if restart.interval < Duration::from_secs(5) {
        let is = format_duration(restart.interval);
        error("interval", format!("`interval` must be at least 5s, this is {is}"), "");
        return;
    }
    let all = restart.delay.saturating_mul(restart.attempts);
    if all > restart.interval {
        let message = format!(
            "{} attempts with a delay of {} do not fit into an interval of {}",
            restart.attempts,
            format_duration(restart.delay),
            format_duration(restart.interval)
        );
        error("attempts", message, "lengthen `interval`, or lower `attempts` or `delay`");
    }
}
