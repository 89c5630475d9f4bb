//! A difference of two versions of a job in Nomad's form (nomad.md section 4).

use std::borrow::Cow;
use std::time::Duration;

use model::format_duration;
use model::wire::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};

use super::lines::{line_diff, shortened};
use crate::output::{GREEN, RED, YELLOW, styled};

/// Lines of a text that is new or gone which are shown unless all are asked for.
const FIRST_LINES: usize = 12;

/// Fields that hold nanoseconds, which people read as `5s`.
const SPANS: &[&str] = &[
    "KillTimeout",
    "ShutdownDelay",
    "Interval",
    "Delay",
    "MaxDelay",
    "Timeout",
    "Grace",
    "Stagger",
    "MinHealthyTime",
    "HealthyDeadline",
    "ProgressDeadline",
    "MaxRunDuration",
    "StopAfterClientDisconnect",
    "MaxClientDisconnect",
    "LostAfter",
    "StopOnClientAfter",
    "Splay",
    "VaultGrace",
    "TTL",
    "ConnectTimeout",
    "HealthTimeout",
];

/// Blocks whose fields have names of people's choice.
const FREE: &[&str] = &["Config", "Policy", "Header"];

/// A difference of two versions, as lines. What is new or gone as a whole says so in one line; `verbose` shows all of
/// it, and long values whole.
pub(crate) fn diff_lines(diff: &JobDiff, verbose: bool) -> Vec<String> {
    let mut page = Page { lines: Vec::new(), verbose };
    page.lines.push(format!("{}Job: \"{}\"", marker(diff.kind), diff.id));
    if verbose || diff.kind == DiffType::Edited {
        page.parts("", "", &diff.fields, &diff.objects, Notes::Grave);
    }
    for group in &diff.task_groups {
        page.group(group);
    }
    page.lines
}

/// Which annotations are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notes {
    /// What starts and stops allocations.
    Grave,
    /// None: the task above says it.
    Said,
}

struct Page {
    lines: Vec<String>,
    verbose: bool,
}

impl Page {
    fn group(&mut self, group: &TaskGroupDiff) {
        // The map is sorted by what happens, as Nomad sorts it.
        let updates: Vec<_> =
            group.updates.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let suffix =
            if updates.is_empty() { String::new() } else { format!(" ({})", updates.join(", ")) };
        let name = &group.name;
        self.lines.push(format!("{}Task Group: \"{name}\"{suffix}", marker(group.kind)));
        if self.verbose || group.kind == DiffType::Edited {
            self.parts("  ", "", &group.fields, &group.objects, Notes::Grave);
        }
        for task in &group.tasks {
            self.task(task);
        }
    }

    fn task(&mut self, task: &TaskDiff) {
        if task.kind == DiffType::None && !self.verbose {
            return;
        }
        let notes = notes(&task.annotations);
        self.lines.push(format!("  {}Task: \"{}\"{notes}", marker(task.kind), task.name));
        if self.verbose || task.kind == DiffType::Edited {
            self.parts("    ", "", &task.fields, &task.objects, Notes::Said);
        }
    }

    /// Names stand in one column, whatever their markers are, and a closing brace below its block's marker.
    fn parts(
        &mut self,
        indent: &str,
        block: &str,
        fields: &[FieldDiff],
        objects: &[ObjectDiff],
        show: Notes,
    ) {
        let objects: Vec<&ObjectDiff> =
            objects.iter().filter(|object| self.verbose || object.kind != DiffType::None).collect();
        let kinds = fields.iter().map(|field| field.kind);
        let kinds = kinds.chain(objects.iter().map(|object| object.kind));
        let markers = kinds.map(|kind| mark(kind).len()).max().unwrap_or(0);
        let width = fields.iter().map(|field| field.name.chars().count() + 1).max().unwrap_or(0);
        for field in fields {
            self.field(indent, block, field, (markers, width), show);
        }
        for object in objects {
            let notes = self.notes(&object.annotations, show);
            let marker = padded(object.kind, markers);
            self.lines.push(format!("{indent}{marker}{}{notes} {{", object.name));
            let inner = format!("{indent}  ");
            // An edited block says what is grave in it; so need its parts not.
            self.parts(&inner, &object.name, &object.fields, &object.objects, Notes::Said);
            self.lines.push(format!("{indent}}}"));
        }
    }

    fn field(
        &mut self,
        indent: &str,
        block: &str,
        field: &FieldDiff,
        (markers, width): (usize, usize),
        show: Notes,
    ) {
        let marker = padded(field.kind, markers);
        let name = format!("{}:", field.name);
        let notes = self.notes(&field.annotations, show);
        let (old, new) = (readable(block, field, &field.old), readable(block, field, &field.new));
        if field.old.trim_end().contains('\n') || field.new.trim_end().contains('\n') {
            self.text(indent, field, (&marker, &name, width), &notes);
            return;
        }
        let (old, new) = if self.verbose { (old, new) } else { shortened(old, new, field.kind) };
        let value = match field.kind {
            DiffType::Added | DiffType::None => format!("{new:?}"),
            DiffType::Deleted => format!("{old:?}"),
            DiffType::Edited => format!("{old:?} => {new:?}"),
        };
        self.lines.push(format!("{indent}{marker}{name:width$} {value}{notes}"));
    }

    /// A value of several lines: what changed of them.
    fn text(
        &mut self,
        indent: &str,
        field: &FieldDiff,
        (marker, name, width): (&str, &str, usize),
        notes: &str,
    ) {
        let count = field.new.lines().count();
        if field.kind == DiffType::None && !self.verbose {
            self.lines.push(format!("{indent}{marker}{name:width$} ({count} lines){notes}"));
            return;
        }
        self.lines.push(format!("{indent}{marker}{name}{notes}"));
        let mut lines = line_diff(&field.old, &field.new, field.kind, self.verbose);
        if !self.verbose && field.kind != DiffType::Edited && lines.len() > FIRST_LINES {
            let more = lines.len() - FIRST_LINES;
            lines.truncate(FIRST_LINES);
            lines.push((DiffType::None, format!("… {more} more lines")));
        }
        for (kind, line) in lines {
            let line = line.trim_end();
            let mark = if kind == DiffType::None { "  ".to_owned() } else { padded(kind, 0) };
            self.lines.push(format!("{indent}    {mark}{line}").trim_end().to_owned());
        }
    }

    fn notes(&self, annotations: &[String], show: Notes) -> String {
        let grave = annotations.iter().any(|words| words != "forces in-place update");
        if self.verbose || (show == Notes::Grave && grave) {
            notes(annotations)
        } else {
            String::new()
        }
    }
}

/// A value as people write it.
fn readable<'a>(block: &str, field: &FieldDiff, value: &'a str) -> Cow<'a, str> {
    let span = SPANS.contains(&field.name.as_str())
        || (block == "Wait" && matches!(field.name.as_str(), "Min" | "Max"));
    match value.parse() {
        Ok(nanos) if span && !FREE.contains(&block) => {
            Cow::Owned(format_duration(Duration::from_nanos(nanos)).to_string())
        }
        _ => Cow::Borrowed(value),
    }
}

fn notes(annotations: &[String]) -> String {
    if annotations.is_empty() { String::new() } else { format!(" ({})", annotations.join(", ")) }
}

const fn mark(kind: DiffType) -> &'static str {
    match kind {
        DiffType::Added => "+ ",
        DiffType::Deleted => "- ",
        DiffType::Edited => "+/- ",
        DiffType::None => "",
    }
}

fn marker(kind: DiffType) -> String {
    padded(kind, 0)
}

fn padded(kind: DiffType, width: usize) -> String {
    let text = format!("{:width$}", mark(kind));
    match kind {
        DiffType::Added => styled(GREEN, text),
        DiffType::Deleted => styled(RED, text),
        DiffType::Edited => styled(YELLOW, text),
        DiffType::None => text,
    }
}

#[cfg(test)]
mod tests;
