//! A plan in Nomad's annotated form, with the reason of each action and the batches to come.

use std::collections::BTreeMap;

use model::FileChangeKind;
use model::wire::{
    AllocMetric, FieldDiff, JobDiff, ObjectDiff, PlanResponse, PlannedJob, TaskDiff, TaskGroupDiff,
};

use crate::output::{BOLD, GREEN, RED, YELLOW, styled};

/// Prints a whole plan. `texts` are the files that were sent, to show the lines that findings point at.
pub(crate) fn print(plan: &PlanResponse, texts: &BTreeMap<String, String>, verbose: bool) {
    for problem in &plan.problems {
        let text = texts.get(&problem.path).map(String::as_str);
        anstream::eprintln!("{}\n", jobfile::render(problem, text, true));
    }
    for note in &plan.notes {
        anstream::eprintln!("{}: {note}", styled(YELLOW, "note"));
    }
    for job in &plan.jobs {
        for line in job_lines(job, verbose) {
            anstream::println!("{line}");
        }
        anstream::println!();
    }
    let summary = if !plan.changes {
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
        let jobs = plan.jobs.len();
        let plural = if jobs == 1 { "" } else { "s" };
        format!(
            "{created} to create, {replaced} to replace, {stopped} to stop, in {jobs} job{plural}."
        )
    };
    anstream::println!("{}", styled(BOLD, summary));
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
    lines.push(String::new());
    lines.push(styled(BOLD, "Scheduler dry-run:"));
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
    for (group, reasons) in &job.reasons {
        for reason in reasons {
            lines.push(format!("- {group}: {reason}"));
        }
    }
    for (group, batches) in &job.batches {
        if batches.len() > 1 {
            let sizes: Vec<_> = batches.iter().map(ToString::to_string).collect();
            lines.push(format!("- {group}: {} batches: {}", batches.len(), sizes.join(", then ")));
        }
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

/// A difference of two versions, as lines.
pub(crate) fn diff_lines(diff: &JobDiff, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(format!("{}Job: \"{}\"", marker(&diff.kind), diff.id));
    let whole = verbose || diff.kind == "Edited";
    if whole {
        fields_and_objects(&mut lines, "", &diff.fields, &diff.objects);
    }
    for group in &diff.task_groups {
        group_lines(&mut lines, group, verbose);
    }
    lines
}

fn group_lines(lines: &mut Vec<String>, group: &TaskGroupDiff, verbose: bool) {
    let mut updates: Vec<_> =
        group.updates.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    updates.sort_by(|a, b| {
        a.split_once(' ').map(|(_, kind)| kind).cmp(&b.split_once(' ').map(|(_, kind)| kind))
    });
    let suffix =
        if updates.is_empty() { String::new() } else { format!(" ({})", updates.join(", ")) };
    lines.push(format!("{}Task Group: \"{}\"{suffix}", marker(&group.kind), group.name));
    // What is new or gone as a whole says so in one line.
    if !verbose && group.kind != "Edited" {
        return;
    }
    fields_and_objects(lines, "  ", &group.fields, &group.objects);
    for task in &group.tasks {
        task_lines(lines, task, verbose);
    }
}

fn task_lines(lines: &mut Vec<String>, task: &TaskDiff, verbose: bool) {
    if task.kind == "None" && !verbose {
        return;
    }
    let annotations = notes(&task.annotations);
    lines.push(format!("  {}Task: \"{}\"{annotations}", marker(&task.kind), task.name));
    if verbose || task.kind == "Edited" {
        fields_and_objects(lines, "    ", &task.fields, &task.objects);
    }
}

/// Names stand in one column, whatever their markers are, and a closing brace below its object's marker.
fn fields_and_objects(
    lines: &mut Vec<String>,
    indent: &str,
    fields: &[FieldDiff],
    objects: &[ObjectDiff],
) {
    let kinds =
        fields.iter().map(|field| &field.kind).chain(objects.iter().map(|object| &object.kind));
    let markers = kinds.map(|kind| mark(kind).len()).max().unwrap_or(0);
    let width = fields.iter().map(|field| field.name.len() + 1).max().unwrap_or(0);
    for field in fields {
        let name = format!("{}:", field.name);
        let value = match field.kind.as_str() {
            "Added" => format!("\"{}\"", field.new),
            "Deleted" => format!("\"{}\"", field.old),
            "Edited" => format!("\"{}\" => \"{}\"", field.old, field.new),
            _ => format!("\"{}\"", field.new),
        };
        let marker = padded(&field.kind, markers);
        lines.push(format!("{indent}{marker}{name:width$} {value}{}", notes(&field.annotations)));
    }
    for object in objects {
        lines.push(format!("{indent}{}{} {{", padded(&object.kind, markers), object.name));
        let inner = format!("{indent}  ");
        fields_and_objects(lines, &inner, &object.fields, &object.objects);
        lines.push(format!("{indent}}}"));
    }
}

fn notes(annotations: &[String]) -> String {
    if annotations.is_empty() { String::new() } else { format!(" ({})", annotations.join(", ")) }
}

fn mark(kind: &str) -> &'static str {
    match kind {
        "Added" => "+ ",
        "Deleted" => "- ",
        "Edited" => "+/- ",
        _ => "",
    }
}

fn marker(kind: &str) -> String {
    padded(kind, 0)
}

fn padded(kind: &str, width: usize) -> String {
    let text = format!("{:width$}", mark(kind));
    match kind {
        "Added" => styled(GREEN, text),
        "Deleted" => styled(RED, text),
        "Edited" => styled(YELLOW, text),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(kind: &str, name: &str, old: &str, new: &str) -> FieldDiff {
        FieldDiff {
            kind: kind.into(),
            name: name.into(),
            old: old.into(),
            new: new.into(),
            annotations: Vec::new(),
        }
    }

    #[test]
    fn a_difference_reads_as_nomad_prints_it() {
        let config = ObjectDiff {
            kind: "Edited".into(),
            name: "Config".into(),
            fields: vec![
                field("Edited", "image", "redis:2.8", "redis:7"),
                field("None", "port_map[0][db]", "6379", "6379"),
            ],
            objects: Vec::new(),
        };
        let task = TaskDiff {
            kind: "Edited".into(),
            name: "redis".into(),
            fields: Vec::new(),
            objects: vec![config],
            annotations: vec!["forces create/destroy update".into()],
        };
        let group = TaskGroupDiff {
            kind: "Edited".into(),
            name: "cache".into(),
            tasks: vec![task],
            updates: [("create/destroy update".to_owned(), 3)].into(),
            ..TaskGroupDiff::default()
        };
        let diff = JobDiff {
            kind: "Edited".into(),
            id: "example".into(),
            task_groups: vec![group],
            ..JobDiff::default()
        };
        let lines: Vec<_> = diff_lines(&diff, false)
            .iter()
            .map(|line| console::strip_ansi_codes(line).into_owned())
            .collect();
        assert_eq!(
            lines,
            [
                "+/- Job: \"example\"",
                "+/- Task Group: \"cache\" (3 create/destroy update)",
                "  +/- Task: \"redis\" (forces create/destroy update)",
                "    +/- Config {",
                "      +/- image:           \"redis:2.8\" => \"redis:7\"",
                "          port_map[0][db]: \"6379\"",
                "    }",
            ]
        );
    }
}
