//! Updates, restarts, reschedules and migrations.

use std::time::Duration;

use model::{
    Disconnect, Group, JobType, Migrate, Reschedule, Restart, RestartMode, Update, format_duration,
};

use super::Rules;

pub(super) fn no_update(rules: &Rules<'_>, path: &str) {
    let message = format!("{} jobs have no `update`", rules.job.kind.as_str());
    rules.error("invalid-update", path, message, "they run to completion: delete the block");
}

/// Nomad refuses it in some of these jobs and passes over it in others; nothing is lost without it.
pub(super) fn no_reschedule(rules: &Rules<'_>, path: &str) {
    let message = format!("`reschedule` has no effect in {} jobs", rules.job.kind.as_str());
    rules.warning("no-effect", path, message, "they stay on their nodes: delete the block");
}

/// What is wrong with an inherited policy is said where it is written: at the group, else at the job.
pub(super) fn written(rules: &Rules<'_>, group: &str, block: &str) -> String {
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
    if let Some(disconnect) = &group.disconnect {
        check_disconnect(rules, &format!("{path}/disconnect"), disconnect);
    }
    check_restart(rules, &format!("{path}/restart"), &group.restart_policy);
    all_at_once(rules, path, group);
}

/// A batch that is the whole group leaves nothing that serves.
fn all_at_once(rules: &Rules<'_>, path: &str, group: &Group) {
    let Some(update) = &group.update else { return };
    let place = format!("{}/max_parallel", written(rules, path, "update"));
    if rules.job.kind == JobType::Service
        && group.count > 1
        && update.max_parallel > group.count
        && rules.places.has(&place)
    {
        let message = format!(
            "`max_parallel` ({}) is more than the {} allocations of the group `{}`: an update stops all of them at once",
            update.max_parallel, group.count, group.name
        );
        rules.warning("all-at-once", &place, message, "lower it, so that some go on serving");
    }
}

/// Canaries of one group that are promoted by hand hold up those of the others.
pub(super) fn promotion(rules: &Rules<'_>) {
    let mut by_hand = None;
    let mut by_itself = None;
    for (at, group) in rules.job.task_groups.iter().enumerate() {
        match &group.update {
            Some(update) if update.canary > 0 && update.auto_promote => by_itself = Some(at),
            Some(update) if update.canary > 0 => by_hand = by_hand.or(Some((at, group))),
            _ => {}
        }
    }
    if let (Some((at, group)), Some(other)) = (by_hand, by_itself) {
        let message = format!(
            "the canaries of the group `{}` are not promoted by themselves, so that those of no group are",
            group.name
        );
        let place = written(rules, rules.places.group(at), "update");
        let other = written(rules, rules.places.group(other), "update");
        let fault = rules
            .fault(
                "no-effect",
                &place,
                message,
                "set auto_promote = true in all groups, or in none",
            )
            .also(rules.places.at(&format!("{other}/auto_promote")), "set here");
        rules.sink.warning(fault);
    }
}

fn check_disconnect(rules: &Rules<'_>, block: &str, disconnect: &Disconnect) {
    let stop = format!("{block}/stop_on_client_after");
    let error = |place: &str, message: String, help: &str| {
        rules.error("invalid-disconnect", place, message, help);
    };
    if disconnect.stop_on_client_after.is_none() {
        return;
    }
    if disconnect.lost_after.is_some_and(|lost| !lost.is_zero()) {
        let message = "`lost_after` and `stop_on_client_after` exclude each other".to_owned();
        error(&stop, message, "either the node goes on with its allocations, or it stops them");
    }
    if rules.job.kind.per_node() {
        let message = format!("a {} job has no `stop_on_client_after`", rules.job.kind.as_str());
        error(&stop, message, "its allocations are replaced nowhere else: delete it");
    }
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
    if !update.healthy_deadline.is_zero() {
        before(rules, &block, code, ("min_healthy_time", update.min_healthy_time), deadline);
    }
    if !update.progress_deadline.is_zero() {
        before(rules, &block, code, deadline, ("progress_deadline", update.progress_deadline));
    }
    if update.auto_promote && update.canary == 0 {
        let message = "`auto_promote` needs canaries to promote";
        rules.error(code, &format!("{block}/auto_promote"), message, "set canary = 1 or more");
    }
    if rules.job.kind == JobType::System && update.canary > 100 {
        let message =
            format!("`canary` of a system job is 0 to 100 percent, this is {}", update.canary);
        rules.error(
            code,
            &format!("{block}/canary"),
            message,
            "it is the share of nodes that go first",
        );
    }
    if update.healthy_deadline.is_zero() {
        let place = format!("{block}/healthy_deadline");
        rules.error(code, &place, "`healthy_deadline` must be more than 0", "for example \"5m\"");
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
    } else if !unlimited && *delay >= Duration::from_secs(5) {
        let fit = attempts_that_fit(reschedule);
        if fit < *attempts {
            let message = format!(
                "only {fit} of {attempts} attempts fit into an interval of {}, with the waits between them",
                format_duration(*interval)
            );
            error(
                "attempts",
                message,
                "lengthen `interval`, or lower `attempts`, `delay` or `max_delay`",
            );
        }
    }
    if reschedule.delay_function != model::DelayFunction::Constant && reschedule.max_delay < *delay
    {
        let (max, delay) = (format_duration(reschedule.max_delay), format_duration(*delay));
        let message = format!("`max_delay` ({max}) must not be shorter than `delay` ({delay})");
        error("max_delay", message, "");
    }
}

/// How many attempts an interval has room for, as Nomad counts: waits add up once they no longer grow.
fn attempts_that_fit(reschedule: &Reschedule) -> u32 {
    let Reschedule { attempts, interval, delay, delay_function, max_delay, .. } = reschedule;
    if *delay_function == model::DelayFunction::Constant {
        let all = delay.saturating_mul(*attempts);
        let room = interval.as_nanos() / delay.as_nanos().max(1);
        return if *interval < all { u32::try_from(room).unwrap_or(u32::MAX) } else { *attempts };
    }
    let (mut fit, mut needed) = (0, Duration::ZERO);
    let (mut wait, mut before) = (*delay, Duration::ZERO);
    for _ in 0..(*attempts).min(1_000) {
        needed = if wait > *max_delay { needed.saturating_add(*max_delay) } else { wait };
        if needed >= *interval {
            return fit;
        }
        fit += 1;
        let next = match delay_function {
            model::DelayFunction::Exponential => wait.saturating_mul(2),
            _ => wait.saturating_add(before),
        };
        before = wait;
        wait = next;
    }
    *attempts
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
