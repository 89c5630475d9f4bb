//! Explanations as lines.

use model::wire::{
    AllocationExplained, AllocationExplanation, ChosenToday, EvaluationBrief, GroupExplanation,
    JobExplanation, NodeVerdict, Shortage, Verdict, WaitView,
};
use model::{EvalTrigger, Timestamp};

use super::{nodes, parts, refusal, refusals, shortage};
use crate::output::{self, BOLD, GREEN, YELLOW, span, styled, table_lines};

/// Columns of a line where nobody says how many there are.
pub(super) const WIDTH: usize = 100;
/// Rows of a table unless all are asked for.
const ROWS: usize = 10;
/// Refusals by reason unless all are asked for.
const REASONS: usize = 20;

/// How it is to look.
pub(super) struct Style {
    pub(super) verbose: bool,
    pub(super) width: usize,
    pub(super) now: Timestamp,
}

impl Style {
    fn id(&self, id: impl std::fmt::Display) -> String {
        let id = id.to_string();
        if self.verbose { id } else { id.chars().take(8).collect() }
    }

    fn ago(&self, at: Timestamp) -> String {
        format!("{} ago", span(self.now.since(at)))
    }

    fn rows<T>(&self, all: &[T]) -> usize {
        if self.verbose { all.len() } else { all.len().min(ROWS) }
    }

    /// A text in as many lines as it needs, each behind `lead`, the first with a mark.
    fn wrapped(&self, lead: &str, text: &str) -> Vec<String> {
        let room = self.width.saturating_sub(lead.len() + 2).max(20);
        let mut lines: Vec<String> = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let long = line.chars().count() + 1 + word.chars().count() > room;
            if long && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
        let mark = |n: usize| if n == 0 { "- " } else { "  " };
        lines.iter().enumerate().map(|(n, line)| format!("{lead}{}{line}", mark(n))).collect()
    }
}

fn heading(lines: &mut Vec<String>, text: &str) {
    lines.push(String::new());
    lines.push(styled(BOLD, text));
}

/// A job.
pub(super) fn job(told: &JobExplanation, style: &Style) -> Vec<String> {
    let mut lines = vec![
        styled(BOLD, format!("Job \"{}\"", told.job_id)),
        format!(
            "{}, priority {}, version {} of commit {}{}",
            told.kind.as_str(),
            told.priority,
            told.job_version,
            told.commit.short(),
            in_file(&told.path)
        ),
    ];
    if let Some(evaluation) = &told.evaluation {
        lines.push(format!("last pass on record: {}", pass(evaluation, style)));
    }
    if let Some(deployment) = &told.deployment {
        lines.push(format!(
            "deployment {}: {}, {}",
            style.id(deployment.id),
            deployment.status.as_str(),
            deployment.description
        ));
    }
    if !told.stopped.is_empty() {
        lines.push(styled(YELLOW, format!("nothing of it runs: {}", told.stopped)));
    }
    for group in &told.groups {
        lines.push(String::new());
        lines.push(styled(
            BOLD,
            format!("Group \"{}\": {} of {} placed", group.group, group.placed, group.desired),
        ));
        if !group.allocations.is_empty() {
            heading(&mut lines, "Why they are here");
            lines.extend(allocations(group, style));
        }
        now(&mut lines, group, style);
        not(&mut lines, group, style);
    }
    lines
}

/// An allocation.
pub(super) fn allocation(told: &AllocationExplained, style: &Style) -> Vec<String> {
    let own = &told.allocation;
    let mut lines = vec![
        styled(BOLD, format!("Allocation {} ({})", style.id(own.id), own.name)),
        format!("{} on node {}, created {}", own.client.as_str(), own.node_name, {
            style.ago(own.created_at)
        }),
    ];
    if !own.desired_description.is_empty() {
        lines.extend(style.wrapped("", &format!("told to go: {}", own.desired_description)));
    }
    heading(&mut lines, "Why it is here");
    let mut say = |key: &str, text: &str| {
        if !text.is_empty() {
            lines.extend(style.wrapped("", &format!("{key}: {text}")));
        }
    };
    say("reason", &own.reason);
    say("replaces", &told.previous.map(|id| style.id(id)).unwrap_or_default());
    say("replaced by", &told.next.map(|id| style.id(id)).unwrap_or_default());
    say("evicted for", told.evicted_for.as_ref().map_or("", |job| job.as_str()));
    let commit = format!("{}{}", told.commit.short(), in_file(&told.path));
    say("from", &format!("version {} of job {}, commit {commit}", told.job_version, told.job_id));
    if let Some(evaluation) = &told.evaluation {
        say("placed by", &format!("pass {}, {}", style.id(evaluation.id), pass(evaluation, style)));
    }
    if let Some(deployment) = &told.deployment {
        let words = format!("{}, {}", deployment.status.as_str(), deployment.description);
        say("deployment", &format!("{}: {words}", style.id(deployment.id)));
    }
    if told.nodes_evaluated > 0 {
        say("looked at then", &nodes(told.nodes_evaluated));
        for line in refusals(&told.filtered, &told.exhausted) {
            lines.push(format!("    {line}"));
        }
    }
    if !told.scores.is_empty() {
        lines.push(String::new());
        lines.push("Scores then, its own node first:".to_owned());
        lines.extend(verdicts(&told.scores, style, told.scores.len()));
    }
    if let Some(today) = &own.today {
        lines.push(String::new());
        lines.extend(style.wrapped("", &format!("today: {}", today_words(today))));
    }
    if let Some(group) = &told.group {
        now(&mut lines, group, style);
        not(&mut lines, group, style);
    }
    lines
}

fn in_file(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" ({path})") }
}

fn pass(evaluation: &EvaluationBrief, style: &Style) -> String {
    format!("{}, because {}", style.ago(evaluation.created_at), trigger(evaluation.triggered_by))
}

/// What made a pass necessary, in words.
fn trigger(trigger: EvalTrigger) -> &'static str {
    match trigger {
        EvalTrigger::JobRegister => "a commit added or changed the job",
        EvalTrigger::JobDeregister => "a commit removed the job",
        EvalTrigger::NodeUpdate => "a node came, went or changed",
        EvalTrigger::AllocFailure => "an allocation failed",
        EvalTrigger::DeploymentWatcher => "its deployment went on",
        EvalTrigger::QueuedAllocs => "there was room again",
        EvalTrigger::Scheduled => "a wait was over",
        EvalTrigger::Preemption => "it lost its room to a more important job",
        EvalTrigger::PeriodicJob => "its time to run had come",
    }
}

fn allocations(group: &GroupExplanation, style: &Style) -> Vec<String> {
    let shown = style.rows(&group.allocations);
    let score = |score: Option<f64>| score.map_or_else(String::new, |score| format!("{score:.3}"));
    let row = |alloc: &AllocationExplanation| {
        let own = alloc.today.as_ref().and_then(|today| Some(today.own.score.as_ref()?.total));
        vec![
            style.id(alloc.id),
            alloc.node_name.clone(),
            output::client_status(alloc.client),
            score(alloc.score_then),
            score(own),
            alloc.today.as_ref().map(short_today).unwrap_or_default(),
            alloc.reason.clone(),
        ]
    };
    let mut lines = table_lines(
        &["ID", "Node", "Status", "Then", "Now", "Today", "Reason"],
        group.allocations.iter().take(shown).map(row),
        style.width,
    );
    let more = group.allocations.len() - shown + group.allocations_left_out as usize;
    if more > 0 {
        lines.push(format!("… {more} more{}", if style.verbose { "" } else { ", see -verbose" }));
    }
    lines
}

fn short_today(today: &ChosenToday) -> String {
    match &today.best_other {
        _ if today.same => "same node".to_owned(),
        Some(other) => format!("better: {}", other.name),
        None => "nowhere".to_owned(),
    }
}

fn today_words(today: &ChosenToday) -> String {
    let scored = |node: &NodeVerdict| match &node.score {
        Some(score) => format!("{} ({:.3})", node.name, score.total),
        None => format!("{}: {}", node.name, answer(node)),
    };
    match &today.best_other {
        Some(other) if today.same => format!(
            "node {} would be chosen again; the best other is {}",
            scored(&today.own),
            scored(other)
        ),
        None if today.same => format!("node {} would be chosen again", scored(&today.own)),
        Some(other) => {
            format!("node {} would be chosen; its own is {}", scored(other), scored(&today.own))
        }
        None => format!("no node would be chosen; its own is {}", scored(&today.own)),
    }
}

/// What a group waits for.
fn now(lines: &mut Vec<String>, group: &GroupExplanation, style: &Style) {
    heading(lines, "Why now");
    if group.waits.is_empty() {
        lines.push(styled(GREEN, "it waits for nothing"));
    }
    for wait in &group.waits {
        lines.extend(style.wrapped("", &wait_words(wait, style)));
    }
    if let Some(gate) = group.gate.as_ref().filter(|_| group.waits.is_empty()) {
        let words = format!("{} of {} may be replaced: {}", gate.now, gate.outdated, gate.reason);
        lines.extend(style.wrapped("", &words));
    }
}

fn wait_words(wait: &WaitView, style: &Style) -> String {
    let since = wait.since.map(|at| format!("since {}", style.ago(at)));
    let until = wait.until.map(|at| match at > style.now {
        true => format!("for another {}", span(at.since(style.now))),
        false => "its time has come".to_owned(),
    });
    let times: Vec<_> = since.into_iter().chain(until).collect();
    match times.as_slice() {
        [] => wait.description.clone(),
        times => format!("{} ({})", wait.description, times.join(", ")),
    }
}

/// What each node says to one more.
fn not(lines: &mut Vec<String>, group: &GroupExplanation, style: &Style) {
    heading(lines, "Why not");
    let (fit, all) = (group.nodes_fit, group.nodes_total);
    lines.push(format!("one more of group \"{}\" fits on {fit} of {}", group.group, nodes(all)));
    let refused = refusals(&group.filtered, &group.exhausted);
    let most = if style.verbose { refused.len() } else { REASONS };
    for line in refused.iter().take(most) {
        lines.extend(style.wrapped("", line));
    }
    if refused.len() > most {
        lines.push(format!("- … {} more reasons, see -verbose", refused.len() - most));
    }
    if fit == 0
        && let Some(near) = group.nodes.first().filter(|node| node.verdict == Verdict::Exhausted)
    {
        let words = if near.lacks.is_empty() { shortage(&near.reason) } else { lacks(&near.lacks) };
        let words = format!("the nearest: {} {words}", near.name);
        lines.extend(style.wrapped("", &words));
    }
    let shown = if style.verbose { group.nodes.len() } else { (fit as usize).min(5) };
    let shown = shown.min(group.nodes.len());
    if shown > 0 {
        lines.push(String::new());
        lines.extend(verdicts(&group.nodes, style, shown));
    }
    if style.verbose && group.nodes_left_out > 0 {
        lines.push(format!("… {} more", nodes(group.nodes_left_out)));
    }
}

/// Nodes with their scores, or what they say instead.
fn verdicts(all: &[NodeVerdict], style: &Style, shown: usize) -> Vec<String> {
    let row = |node: &NodeVerdict| {
        let name = if node.name.is_empty() { style.id(node.node) } else { node.name.clone() };
        match &node.score {
            Some(score) => vec![name, format!("{:.3}", score.total), parts(score)],
            None => vec![name, String::new(), answer(node)],
        }
    };
    table_lines(&["Node", "Score", "Parts"], all.iter().take(shown).map(row), style.width)
}

fn answer(node: &NodeVerdict) -> String {
    match node.verdict {
        Verdict::Fits => String::new(),
        Verdict::Filtered => refusal(&node.reason),
        Verdict::Exhausted if node.lacks.is_empty() => shortage(&node.reason),
        Verdict::Exhausted => lacks(&node.lacks),
    }
}

/// `lacks 200 MHz of 1,500 (1,300 of 4,000 free)`, for each dimension.
fn lacks(lacks: &[Shortage]) -> String {
    let one = |lack: &Shortage| {
        let unit = match lack.unit() {
            "" => String::new(),
            unit => format!(" {unit}"),
        };
        let name = if lack.dimension == "cores" { " cores" } else { "" };
        let of = match lack.dimension.as_str() {
            "memory" | "disk" => format!(" {}", lack.dimension),
            _ => String::new(),
        };
        format!(
            "{}{unit}{name} of {}{of} ({} of {} free)",
            thousands(lack.missing()),
            thousands(lack.asked),
            thousands(lack.free),
            thousands(lack.total)
        )
    };
    format!("lacks {}", lacks.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A number with its digits in threes.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
