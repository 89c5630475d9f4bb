//! Order between the jobs of a repository: `gitops { after = […] }` names jobs, and only all files together show
//! whether they exist and whether anybody waits for itself.

use std::collections::{BTreeMap, BTreeSet};

use model::{Dependency, Diagnostic, JobId, Related, Severity};

use crate::canonical::Canonical;
use crate::report::{Sink, Span};

/// What a file says about order.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileOrder<'a> {
    /// Now.
    pub now: &'a [Dependency],
    /// What counts where the file cannot be used: what it said when it last could.
    pub before: &'a [Dependency],
}

/// What is wrong with the order, by file. A file with an unknown name is at fault, and so is one that closes a circle
/// with what it did not say before: the others of the circle go on as they are.
pub fn check_order(
    files: &BTreeMap<String, FileOrder<'_>>,
    is_declared: impl Fn(&JobId) -> bool,
) -> BTreeMap<String, Vec<Diagnostic>> {
    let mut faults: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, &[Dependency]> = BTreeMap::new();
    for (path, order) in files {
        let unknown = order.now.iter().filter(|dependency| !is_declared(&dependency.on));
        let found: Vec<Diagnostic> = unknown.map(unknown_job).collect();
        counts.insert(path, if found.is_empty() { order.now } else { order.before });
        if !found.is_empty() {
            faults.insert(path.clone(), found);
        }
    }
    // Each round takes at least one file out.
    while let Some(circle) = circle(counts.values().flat_map(|edges| edges.iter())) {
        let is_new = |edge: &Dependency, before: &[Dependency]| {
            !before.iter().any(|old| (&old.job, &old.on) == (&edge.job, &edge.on))
        };
        let mut blamed = false;
        for (path, order) in files {
            // What counts for it now is a part of one of its own lists.
            let own = |edge: &Dependency| order.now.iter().any(|known| std::ptr::eq(known, edge));
            let at = circle.iter().position(|edge| own(edge) && is_new(edge, order.before));
            let Some(at) = at else { continue };
            faults.entry(path.clone()).or_default().push(waits_for_itself(&circle, at));
            counts.insert(path, order.before);
            blamed = true;
        }
        if !blamed {
            break;
        }
    }
    faults
}

/// Jobs each of which waits for the next, and the last for the first: the first such circle.
fn circle<'a>(edges: impl Iterator<Item = &'a Dependency>) -> Option<Vec<&'a Dependency>> {
    let mut from: BTreeMap<&JobId, Vec<&Dependency>> = BTreeMap::new();
    for edge in edges {
        from.entry(&edge.job).or_default().push(edge);
    }
    let mut done: BTreeSet<&JobId> = BTreeSet::new();
    for start in from.keys().copied() {
        // The way here, and at each job which of its names comes next.
        let mut way: Vec<&Dependency> = Vec::new();
        let mut open: Vec<(&JobId, usize)> = vec![(start, 0)];
        while let Some((job, next)) = open.last_mut() {
            let edge = from.get(*job).and_then(|edges| edges.get(*next)).copied();
            let Some(edge) = edge.filter(|_| !done.contains(*job)) else {
                done.insert(*job);
                open.pop();
                way.pop();
                continue;
            };
            *next += 1;
            way.push(edge);
            if let Some(at) = open.iter().position(|(job, _)| **job == edge.on) {
                return Some(way.split_off(at));
            }
            open.push((&edge.on, 0));
        }
    }
    None
}

fn unknown_job(dependency: &Dependency) -> Diagnostic {
    let Dependency { job, on, .. } = dependency;
    let message =
        format!("job `{job}` starts after `{on}`, but no file of this repository declares `{on}`");
    at(dependency, "unknown-job", message, "correct the name, or take it out of `after`")
}

fn waits_for_itself(circle: &[&Dependency], first: usize) -> Diagnostic {
    let around = || circle.iter().cycle().skip(first).take(circle.len()).copied();
    let words: Vec<&str> = around().map(|edge| edge.job.as_str()).collect();
    let Some(edge) = around().next() else { return Diagnostic::default() };
    let message =
        format!("job `{}` would wait for itself: {} -> {}", edge.job, words.join(" -> "), edge.job);
    let help = "take one of the names out of `after`";
    let related = around().skip(1).map(|edge| Related {
        path: edge.path.clone(),
        line: edge.line,
        column: edge.column,
        span: edge.span,
        message: format!("`{}` starts after `{}`", edge.job, edge.on),
    });
    Diagnostic { related: related.collect(), ..at(edge, "circular-order", message, help) }
}

fn at(dependency: &Dependency, code: &str, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line: dependency.line,
        column: dependency.column,
        span: dependency.span,
        ..Diagnostic::file_error(code, &dependency.path, message, help)
    }
}

/// The names that a job starts after, each with its place.
pub(crate) fn dependencies(canonical: &Canonical, sink: &Sink<'_>) -> Vec<Dependency> {
    let Canonical { job, places, .. } = canonical;
    let whole = places.at("job/gitops/after");
    let of = |on: &JobId| {
        let inside = sink.text_at(whole, |written| written.find(&format!("\"{on}\"")));
        let span = inside.map_or(whole, |offset| {
            let start = whole.start + offset;
            Span::new(start, start + on.as_str().len() + 2)
        });
        let (path, line, column, local) = sink.position(span);
        Dependency {
            job: job.id.clone(),
            on: on.clone(),
            path,
            line,
            column,
            span: Some((local.start, local.end)),
        }
    };
    job.gitops.after.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inputs, Source, parse};

    fn file(path: &str, jobs: &[(&str, &[&str])]) -> Vec<Dependency> {
        let one = |(job, after): &(&str, &[&str])| {
            format!(
                "job \"{job}\" {{\n  gitops {{\n    after = {after:?}\n  }}\n  group \"g\" {{\n    task \"t\" {{\n      \
                 driver = \"raw_exec\"\n      config {{\n        command = \"/bin/true\"\n      }}\n    }}\n  }}\n}}\n"
            )
        };
        let text: String = jobs.iter().map(one).collect();
        let parsed = parse(Source { path, bytes: text.as_bytes() }, &Inputs::default());
        assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
        parsed.dependencies
    }

    fn found(files: &[(&str, &[Dependency], &[Dependency])]) -> Vec<String> {
        let files = files
            .iter()
            .map(|(path, now, before)| ((*path).to_owned(), FileOrder { now, before }))
            .collect();
        let declared = ["a", "b", "c", "d"];
        let faults = check_order(&files, |job| declared.contains(&job.as_str()));
        let line = |of: &Diagnostic| {
            format!("{}:{}:{}: {}: {}", of.path, of.line, of.column, of.code, of.message)
        };
        faults.values().flatten().map(line).collect()
    }

    #[test]
    fn each_name_has_its_place() {
        let found = file("a.hcl", &[("a", &["b", "c"])]);
        let places: Vec<_> =
            found.iter().map(|edge| (edge.on.as_str(), edge.line, edge.column)).collect();
        assert_eq!(places, [("b", 3, 14), ("c", 3, 19)]);
        let yaml = "job:\n  a:\n    gitops:\n      after:\n        - b\n    group:\n      g:\n        task:\n          \
                    t:\n            driver: raw_exec\n            config:\n              command: /bin/true\n";
        let parsed = parse(Source { path: "a.yaml", bytes: yaml.as_bytes() }, &Inputs::default());
        assert_eq!(parsed.diagnostics, []);
        assert_eq!((parsed.dependencies[0].on.as_str(), parsed.dependencies[0].line), ("b", 5));
    }

    #[test]
    fn names_that_nobody_declares_are_told() {
        let a = file("a.hcl", &[("a", &["b", "x"])]);
        assert_eq!(
            found(&[("a.hcl", &a, &[])]),
            [
                "a.hcl:3:19: unknown-job: job `a` starts after `x`, but no file of this repository declares `x`"
            ]
        );
    }

    #[test]
    fn a_circle_is_told_at_each_file_that_makes_it() {
        let own = file("a.hcl", &[("a", &["a"])]);
        assert_eq!(
            found(&[("a.hcl", &own, &[])]),
            ["a.hcl:3:14: circular-order: job `a` would wait for itself: a -> a"]
        );
        let (a, b) =
            (file("a.hcl", &[("a", &["b"])]), file("b.hcl", &[("b", &["c"]), ("c", &["a"])]));
        let d = file("d.hcl", &[("d", &["a", "b", "c"])]);
        assert_eq!(
            found(&[("a.hcl", &a, &[]), ("b.hcl", &b, &[]), ("d.hcl", &d, &[])]),
            [
                "a.hcl:3:14: circular-order: job `a` would wait for itself: a -> b -> c -> a",
                "b.hcl:3:14: circular-order: job `b` would wait for itself: b -> c -> a -> b",
            ]
        );
    }

    #[test]
    fn a_file_that_was_there_first_is_not_at_fault() {
        let (a, b) = (file("a.hcl", &[("a", &["b"])]), file("b.hcl", &[("b", &["a"])]));
        let told = found(&[("a.hcl", &a, &a), ("b.hcl", &b, &[])]);
        assert_eq!(
            told,
            ["b.hcl:3:14: circular-order: job `b` would wait for itself: b -> a -> b"]
        );
        assert_eq!(found(&[("a.hcl", &a, &a), ("b.hcl", &b, &b)]), [""; 0], "nobody can be blamed");
        // Two circles at once, and one that only comes about because a file falls back to what it said.
        let c = file("c.hcl", &[("c", &["d"])]);
        let x = file("d.hcl", &[("d", &["x"])]);
        let d = file("d.hcl", &[("d", &["c"])]);
        let told =
            found(&[("a.hcl", &a, &[]), ("b.hcl", &b, &[]), ("c.hcl", &c, &[]), ("d.hcl", &x, &d)]);
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[2].ends_with("c -> d -> c") && told[3].contains("unknown-job"), "{told:#?}");
    }
}
