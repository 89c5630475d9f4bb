//! A plan in Nomad's annotated form, with the reason of each action and the batches to come.

use std::collections::{BTreeMap, BTreeSet};

use model::wire::{AllocMetric, ChangeClass, FieldChange, PlanResponse, PlannedJob, WaitsFor};
use model::{DesiredUpdates, FileChangeKind, JobId};

use super::diff::diff_lines;
use crate::explain;
use crate::output::{BOLD, GREEN, YELLOW, styled};

/// Changes that are explained unless all are asked for.
const MOST_CHANGES: usize = 10;
/// Placements of a group that the agent tells one by one.
const MOST_PLACEMENTS: usize = 20;

/// Prints a whole plan. `texts` are the files that were sent, to show the lines that findings point at.
pub(crate) fn print(plan: &PlanResponse, texts: &BTreeMap<String, String>, verbose: bool) {
    for problem in &plan.problems {
        let text = texts.get(&problem.path).map(String::as_str);
        anstream::eprintln!("{}\n", jobfile::render(problem, text, true));
    }
    for note in &plan.notes {
        anstream::eprintln!("{}: {note}", styled(YELLOW, "note"));
    }
    let shown: Vec<_> = plan.jobs.iter().filter(|job| verbose || says_something(job)).collect();
    for job in &shown {
        for line in job_lines(job, verbose) {
            anstream::println!("{line}");
        }
        anstream::println!();
    }
    let broken = plan.problems.iter().any(model::Diagnostic::is_error);
    let summary = if !plan.changes && broken {
        "No changes by what could be read. The jobs of files with errors stay as they are."
            .to_owned()
    } else if !plan.changes {
        "No changes: what runs is what the files say.".to_owned()
    } else if !plan.disruptive {
        "Nothing starts or stops.".to_owned()
    } else {
        let mut totals = [0; 3];
        for job in &plan.jobs {
            for (group, updates) in &job.updates {
                let created = updates.place + updates.canary;
                // The plan holds the first batch; the others follow from it.
                let batches: u32 = job.batches.get(group).map_or(0, |batches| batches.iter().sum());
                let replaced = (updates.destructive_update + updates.migrate)
                    .max(batches.saturating_sub(created));
                totals = [totals[0] + created, totals[1] + replaced, totals[2] + updates.stop];
            }
        }
        let [created, replaced, stopped] = totals;
        let jobs = plan.jobs.iter().filter(|job| says_something(job)).count();
        let plural = if jobs == 1 { "" } else { "s" };
        format!(
            "{created} to create, {replaced} to replace, {stopped} to stop, in {jobs} job{plural}."
        )
    };
    if let Some(order) = order_line(&plan.jobs) {
        anstream::println!("{order}");
    }
    anstream::println!("{}", styled(BOLD, summary));
}

/// In which order jobs start that wait for each other: `Order: db; then queue, web`.
fn order_line(jobs: &[PlannedJob]) -> Option<String> {
    let after: BTreeMap<&JobId, Vec<&JobId>> = jobs
        .iter()
        .filter(|job| !job.waits_for.is_empty())
        .map(|job| (&job.job_id, job.waits_for.iter().map(|on| &on.job_id).collect()))
        .collect();
    let mut rest: BTreeSet<&JobId> =
        after.iter().flat_map(|(job, on)| on.iter().copied().chain([*job])).collect();
    let mut steps: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let waits = |job: &JobId| after.get(job).into_iter().flatten().any(|on| rest.contains(on));
        let (later, now): (BTreeSet<&JobId>, BTreeSet<&JobId>) =
            rest.iter().partition(|job| waits(job));
        // In a circle nobody is first.
        let step = if now.is_empty() { &later } else { &now };
        steps.push(step.iter().map(|job| job.as_str()).collect::<Vec<_>>().join(", "));
        rest = if now.is_empty() { BTreeSet::new() } else { later };
    }
    (!steps.is_empty()).then(|| format!("Order: {}", steps.join("; then ")))
}

/// Whether a job has more to it than that its file was read anew and means what it meant: a vars file that all jobs of
/// a repository take values from does that to each of them.
fn says_something(job: &PlannedJob) -> bool {
    let acts = |updates: &DesiredUpdates| {
        *updates != DesiredUpdates { ignore: updates.ignore, ..DesiredUpdates::default() }
    };
    job.change != Some(FileChangeKind::Unchanged)
        || job.diff.is_some()
        || !job.failures.is_empty()
        || job.updates.values().any(acts)
}

fn job_lines(job: &PlannedJob, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match &job.diff {
        Some(diff) => lines.extend(diff_lines(diff, verbose)),
        None => lines.push(format!("Job: \"{}\"", job.job_id)),
    }
    if !job.path.is_empty() {
        lines.push(format!(
            "  ({}{})",
            job.path,
            if job.change == Some(FileChangeKind::Removed) { ", removed" } else { "" }
        ));
    }
    if job.change == Some(FileChangeKind::Broken) && job.updates.is_empty() {
        // Nothing was scheduled.
        lines.push(styled(YELLOW, "  has errors, and stays as it is"));
        return lines;
    }
    lines.extend(change_lines(&job.changes, verbose));
    lines.push(String::new());
    lines.push(styled(BOLD, "Scheduler dry-run:"));
    for WaitsFor { job_id, reason } in &job.waits_for {
        lines.push(styled(YELLOW, format!("- waits for {job_id}: {reason}")));
    }
    if job.failures.is_empty() {
        lines.push(styled(GREEN, "- All tasks successfully allocated."));
    } else {
        lines.push(styled(YELLOW, "- WARNING: Failed to place all allocations."));
        for (group, failure) in &job.failures {
            let metric = AllocMetric {
                nodes_evaluated: failure.nodes_evaluated,
                constraint_filtered: failure.filtered.clone(),
                dimension_exhausted: failure.exhausted.clone(),
                coalesced_failures: failure.unplaced.saturating_sub(1),
                ..AllocMetric::default()
            };
            lines.extend(failure_lines(group, &metric).into_iter().map(|line| format!("  {line}")));
        }
    }
    if let Some(at) = job.next_periodic_launch {
        lines.push(format!(
            "- If this is taken in now, the next periodic launch is {}",
            crate::output::launch(at)
        ));
    }
    for (group, reasons) in &job.reasons {
        for reason in reasons {
            lines.push(format!("- {group}: {reason}"));
        }
    }
    for (other, count) in &job.evicts {
        let plural = if *count == 1 { "" } else { "s" };
        lines.push(styled(YELLOW, format!("- evicts {count} allocation{plural} of job {other}")));
    }
    if verbose {
        lines.extend(placement_lines(job));
    }
    for (group, batches) in &job.batches {
        if batches.len() > 1 {
            let sizes: Vec<_> = batches.iter().map(ToString::to_string).collect();
            lines.push(format!("- {group}: {} batches: {}", batches.len(), sizes.join(", then ")));
        }
    }
    lines
}

/// Where the first pass puts what, and what made the node the best.
fn placement_lines(job: &PlannedJob) -> Vec<String> {
    let mut lines = Vec::new();
    for (group, placements) in &job.placements {
        for placed in placements {
            let why = placed.score.as_ref().map_or_else(String::new, |score| {
                format!(": score {:.3} ({})", score.total, explain::parts(score))
            });
            lines.push(format!("- {} goes to node {}{why}", placed.name, placed.node_name));
        }
        let all = job.updates.get(group).map_or(0, |updates| {
            updates.place + updates.canary + updates.migrate + updates.destructive_update
        });
        let more = (all as usize).saturating_sub(placements.len());
        if placements.len() >= MOST_PLACEMENTS && more > 0 {
            lines.push(format!("- {group}: … and {more} more"));
        }
    }
    lines
}

/// Why changes do what they do. Unless all are asked for, only those that replace allocations, and the first of them.
fn change_lines(changes: &[FieldChange], verbose: bool) -> Vec<String> {
    let shown: Vec<_> = changes
        .iter()
        .filter(|change| verbose || change.class == ChangeClass::Destructive)
        .collect();
    let most = if verbose { usize::MAX } else { MOST_CHANGES };
    let mut lines = Vec::new();
    if !shown.is_empty() {
        lines.push(String::new());
        lines.push(styled(BOLD, "Why:"));
    }
    for change in shown.iter().take(most) {
        let what = match change.class {
            ChangeClass::Destructive => styled(YELLOW, "replaces"),
            ChangeClass::InPlace => "in place".to_owned(),
            ChangeClass::None => "no effect on what runs".to_owned(),
        };
        lines.push(format!("- {} ({what}): {}", change.path, change.reason));
    }
    if shown.len() > most {
        lines.push(format!("- … {} more, see -verbose", shown.len() - most));
    }
    lines
}

/// Why a group was not placed, as Nomad words it.
pub(crate) fn failure_lines(group: &str, metric: &AllocMetric) -> Vec<String> {
    let unplaced = metric.coalesced_failures + 1;
    let plural = if unplaced == 1 { "" } else { "s" };
    let mut lines =
        vec![format!("Task Group \"{group}\" (failed to place {unplaced} allocation{plural}):")];
    if metric.nodes_evaluated == 0 {
        lines.push("  * No nodes were eligible for evaluation".to_owned());
    }
    for (constraint, nodes) in &metric.constraint_filtered {
        lines.push(format!("  * Constraint \"{constraint}\": {nodes} nodes excluded by filter"));
    }
    for (dimension, nodes) in &metric.dimension_exhausted {
        lines.push(format!("  * Dimension \"{dimension}\" exhausted on {nodes} nodes"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_means_what_it_meant_is_no_news() {
        let job = |change| PlannedJob {
            job_id: "web".into(),
            path: "web.nomad".to_owned(),
            change: Some(change),
            diff: None,
            changes: Vec::new(),
            updates: BTreeMap::new(),
            reasons: BTreeMap::new(),
            batches: BTreeMap::new(),
            failures: BTreeMap::new(),
            next_periodic_launch: None,
            waits_for: Vec::new(),
            placements: BTreeMap::new(),
            evicts: BTreeMap::new(),
        };
        let updates = |updates| BTreeMap::from([("g".to_owned(), updates)]);
        let mut same = job(FileChangeKind::Unchanged);
        assert!(!says_something(&same) && says_something(&job(FileChangeKind::Broken)));
        same.updates = updates(DesiredUpdates { ignore: 2, ..DesiredUpdates::default() });
        assert!(!says_something(&same));
        same.updates = updates(DesiredUpdates { place: 1, ..DesiredUpdates::default() });
        assert!(says_something(&same));
    }

    #[test]
    fn the_order_is_shown() {
        let job = |id: &str, on: &[&str]| PlannedJob {
            job_id: id.into(),
            path: String::new(),
            change: None,
            diff: None,
            changes: Vec::new(),
            updates: BTreeMap::new(),
            reasons: BTreeMap::new(),
            batches: BTreeMap::new(),
            failures: BTreeMap::new(),
            next_periodic_launch: None,
            placements: BTreeMap::new(),
            evicts: BTreeMap::new(),
            waits_for: on
                .iter()
                .map(|on| WaitsFor { job_id: (*on).into(), reason: "its deployment failed".into() })
                .collect(),
        };
        let jobs = [job("db", &[]), job("web", &["db", "mq"]), job("api", &["web"]), job("x", &[])];
        assert_eq!(order_line(&jobs).as_deref(), Some("Order: db, mq; then web; then api"));
        assert_eq!(order_line(&jobs[..1]), None);
        let lines = job_lines(&jobs[2], false).join("\n");
        assert!(lines.contains("- waits for web: its deployment failed"), "{lines}");
    }

    #[test]
    fn where_it_goes_and_who_goes_for_it_is_said() {
        use model::wire::PlannedPlacement;
        use model::{NodeScore, ScorePart};

        let placed = PlannedPlacement {
            name: "web.g[0]".to_owned(),
            node_name: "n1".to_owned(),
            score: Some(NodeScore {
                total: 0.5,
                parts: [(ScorePart::Binpack, 0.8), (ScorePart::JobAntiAffinity, 0.2)]
                    .into_iter()
                    .collect(),
                ..NodeScore::default()
            }),
            ..PlannedPlacement::default()
        };
        let job = PlannedJob {
            job_id: "web".into(),
            path: String::new(),
            change: Some(FileChangeKind::Added),
            diff: None,
            changes: Vec::new(),
            updates: BTreeMap::from([(
                "g".to_owned(),
                DesiredUpdates { place: 23, ..DesiredUpdates::default() },
            )]),
            reasons: BTreeMap::new(),
            batches: BTreeMap::new(),
            failures: BTreeMap::new(),
            next_periodic_launch: None,
            waits_for: Vec::new(),
            placements: BTreeMap::from([("g".to_owned(), vec![placed; MOST_PLACEMENTS])]),
            evicts: BTreeMap::from([("low".into(), 2), ("lower".into(), 1)]),
        };
        let shown = |verbose| -> Vec<String> {
            let lines = job_lines(&job, verbose).into_iter();
            let plain = lines.map(|line| console::strip_ansi_codes(&line).into_owned());
            plain.skip_while(|line| !line.starts_with("- evicts")).collect()
        };
        let evicts = ["- evicts 2 allocations of job low", "- evicts 1 allocation of job lower"];
        assert_eq!(shown(false), evicts);
        let first =
            "- web.g[0] goes to node n1: score 0.500 (binpack 0.800, job-anti-affinity 0.200)";
        let all = shown(true);
        assert_eq!((all.len(), all[2].as_str()), (2 + MOST_PLACEMENTS + 1, first));
        assert_eq!(all.last().map(String::as_str), Some("- g: … and 3 more"));
    }

    #[test]
    fn changes_say_why() {
        let change = |class, path: &str| FieldChange {
            path: path.to_owned(),
            class,
            reason: "so it is".to_owned(),
        };
        let mut changes = vec![
            change(ChangeClass::Destructive, "group \"web\" task \"app\" config.image"),
            change(ChangeClass::InPlace, "group \"web\" count"),
        ];
        let plain = |changes: &[FieldChange], verbose| -> Vec<String> {
            change_lines(changes, verbose)
                .iter()
                .map(|line| console::strip_ansi_codes(line).into_owned())
                .collect()
        };
        let first = "- group \"web\" task \"app\" config.image (replaces): so it is";
        assert_eq!(plain(&changes, false), ["", "Why:", first]);
        assert_eq!(
            plain(&changes, true),
            ["", "Why:", first, "- group \"web\" count (in place): so it is"]
        );
        assert_eq!(plain(&changes[1..], false), Vec::<String>::new());
        changes.extend((0..MOST_CHANGES).map(|n| change(ChangeClass::Destructive, &n.to_string())));
        assert!(plain(&changes, false).ends_with(&["- … 1 more, see -verbose".to_owned()]));
    }
}
