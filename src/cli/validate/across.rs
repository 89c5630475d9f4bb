//! What is wrong with several files together: one job in two of them, and values that none of them takes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jobfile::{FileOrder, Inputs, Parsed, VarsFiles, check_order};
use model::{Dependency, Diagnostic, JobId, Related, Severity};

use super::report::Report;

/// What the files of one repository declare.
#[derive(Default)]
pub(super) struct Across {
    /// The file that declares a job, and the place in it.
    owners: BTreeMap<JobId, (String, Option<Related>)>,
    /// The variables that are declared, and in which files.
    declared: BTreeMap<String, BTreeSet<String>>,
    twice: Vec<Diagnostic>,
    /// What each file says about order.
    order: BTreeMap<String, Vec<Dependency>>,
    /// Jobs that are declared, also in files with mistakes.
    named: BTreeSet<JobId>,
    /// Whether a file could not be read so far that its jobs are known.
    unnamed: bool,
    /// Whether a file could not be read so far that its variables are known.
    unknown: bool,
    files: usize,
}

impl Across {
    pub(super) fn take(&mut self, path: &str, parsed: &Parsed) {
        self.files += 1;
        self.unknown |= parsed.variables.is_empty() && parsed.has_errors();
        for variable in &parsed.variables {
            self.declared.entry(variable.name.clone()).or_default().insert(path.to_owned());
        }
        self.unnamed |= parsed.headers.is_empty() && parsed.has_errors();
        self.named.extend(parsed.headers.iter().map(|(id, _)| id.clone()));
        self.named.extend(parsed.jobs.iter().map(|job| job.id.clone()));
        if !parsed.dependencies.is_empty() {
            self.order.insert(path.to_owned(), parsed.dependencies.clone());
        }
        for job in &parsed.jobs {
            let here = parsed.headers.iter().find(|(id, _)| *id == job.id).map(|(_, place)| place);
            let owner = match self.owners.entry(job.id.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert((path.to_owned(), here.cloned()));
                    continue;
                }
                Entry::Occupied(occupied) => occupied.into_mut(),
            };
            let fault = Diagnostic::file_error(
                "duplicate-job",
                path,
                format!("job `{}` is already declared by {}", job.id, owner.0),
                "give one of them another name, or remove one of the files",
            );
            self.twice.push(match here {
                Some(here) => Diagnostic {
                    line: here.line,
                    column: here.column,
                    span: here.span,
                    related: owner.1.iter().map(first).collect(),
                    ..fault
                },
                None => fault,
            });
        }
    }

    /// `paths` are the folders and files that were looked at.
    pub(super) fn finish(
        self,
        paths: &[String],
        inputs: &Inputs,
        vars: &VarsFiles,
        report: &mut Report,
    ) {
        for problem in vars.problems() {
            report.find(problem.clone());
        }
        for warning in vars.misleading(inputs.environment.as_deref()) {
            report.find(warning);
        }
        if !self.unknown {
            self.unused_values(paths, vars, report);
            if self.files > 1 && !inputs.lenient {
                self.undeclared(inputs, report);
            }
        }
        self.order(paths, report);
        for problem in self.twice {
            report.find(problem);
        }
    }

    /// Circles, and names that nobody declares. Who looks at a file alone did not ask about the others.
    fn order(&self, paths: &[String], report: &mut Report) {
        let orders = self.order.iter().map(|(path, now)| {
            let order = FileOrder { now, ..FileOrder::default() };
            (path.clone(), order)
        });
        let faults = check_order(&orders.collect(), |job| self.named.contains(job));
        for (path, found) in faults {
            let in_folder = paths.iter().any(|asked| *asked != path && is_beneath(&path, asked));
            for mut fault in found {
                if fault.code == "unknown-job" && (self.unnamed || !in_folder) {
                    fault.severity = Severity::Warning;
                    fault.message = fault
                        .message
                        .replace("no file of this repository", "no file that was looked at");
                }
                report.find(fault);
            }
        }
    }

    /// Lines of vars files that no job file takes, where all those that could were looked at.
    fn unused_values(&self, paths: &[String], vars: &VarsFiles, report: &mut Report) {
        for (file, names) in vars.names() {
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            if !paths.iter().any(|path| is_beneath(folder, path)) {
                continue;
            }
            for (name, place) in names {
                let takes = |path: &String| is_beneath(path, folder);
                if !self.declared.get(name).is_some_and(|files| files.iter().any(takes)) {
                    report.find(Diagnostic {
                        severity: Severity::Warning,
                        code: "unused-value".to_owned(),
                        message: format!(
                            "no job file here or below declares the variable `{name}`"
                        ),
                        ..place
                    });
                }
            }
        }
    }

    /// Somebody who names a variable means one that is there.
    fn undeclared(&self, inputs: &Inputs, report: &mut Report) {
        let message = |name: &str| format!("no job file declares the variable `{name}`");
        for (name, _) in inputs.flags.iter().filter(|(name, _)| !self.declared.contains_key(name)) {
            let given = format!("-var {name}");
            let help = "correct the name, or pass -hcl2-strict=false";
            report.find(Diagnostic::file_error("unknown-variable", &given, message(name), help));
        }
        let mut named = VarsFiles::default();
        inputs.files.iter().for_each(|(path, bytes)| named.insert(path, bytes));
        for (name, place) in named.names().flat_map(|(_, names)| names) {
            if !self.declared.contains_key(name) {
                let code = "unknown-variable".to_owned();
                report.find(Diagnostic { code, message: message(name), ..place });
            }
        }
    }
}

fn first(place: &Related) -> Related {
    Related { message: "the first is here".to_owned(), ..place.clone() }
}

fn is_beneath(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
