//! Room: jobfile. Text in, [`model::Job`] out, with a place for everything that is wrong.
//!
//! The way: bytes → text (`source`) → tree of attributes and blocks, the same for HCL and YAML (`hcl`, `yaml`,
//! `tree`) → values (`resolve`, `expr`) → job (`decode`) → rules (`check`). All findings of a file are
//! gathered on the way (`report`); a job comes out only where none is an error.
//!
//! This room is pure: it reads no file, clock or environment, and the same bytes and inputs give the same job. Nothing
//! it is given makes it panic, recurse without bound or grow without bound. Rules of what *happens* with a job do not
//! belong here, nor does anything a driver alone understands.

mod api_json;
mod canonical;
mod check;
mod example;
mod explain;
mod expr;
mod files;
mod format;
mod hcl;
mod include;
mod inputs;
mod json;
mod material;
mod order;
mod print;
mod provenance;
mod render;
mod report;
mod resolve;
mod root;
mod scan;
mod schedule;
mod schema;
mod source;
mod suggest;
mod tree;
mod variables;
mod yaml;

#[cfg(test)]
mod testing;

use std::collections::BTreeSet;

use model::{Dependency, Diagnostic, Job, JobId, Related};

use crate::canonical::Canonical;
use crate::expr::Scope;
use crate::include::Reads;
use crate::provenance::Sources;
use crate::report::{Fault, Sink};
use crate::source::Syntax;
use crate::tree::{Body, Expr};

pub use crate::example::{Example, example};
pub use crate::explain::{codes, explain};
pub use crate::files::{Files, NoFiles};
pub use crate::format::{FormatError, format};
pub use crate::inputs::{Inputs, VariableSource};
pub use crate::order::{FileOrder, check_order};
pub use crate::print::{Form, print};
pub use crate::provenance::Explained;
pub use crate::render::render;
pub use crate::schedule::Schedule;
pub use crate::source::{holds_job, is_job_file_name};
pub use crate::variables::{
    VarsFiles, applying_vars_files, environment_of_vars_file, is_vars_file_name,
};

/// A file: its name, which decides the syntax, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name, as findings repeat it.
    pub path: &'a str,
    /// The content.
    pub bytes: &'a [u8],
}

/// What a file comes to.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The jobs, in the order of the file. Empty when there is an error; otherwise at least one.
    pub jobs: Vec<Job>,
    /// The places of the jobs in the file, by their IDs, as others may refer to them.
    pub headers: Vec<(JobId, Related)>,
    /// Which of the jobs start after which others, and where that stands.
    pub dependencies: Vec<Dependency>,
    /// Everything found, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Paths of the repository that the result depends on, beside the file itself and the vars files that apply to it:
    /// what it includes and what its functions read, whether it is there or not. A folder whose names matter ends in `/`.
    pub reads: BTreeSet<String>,
    /// The variables that are declared, and where their values came from.
    pub variables: Vec<VariableSource>,
    /// Where each value of the jobs came from, where [`Inputs::explain`] asks for it.
    pub explained: Vec<Explained>,
}

impl Parsed {
    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// What a job file can see of the repository that it lies in.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The files that it may include and read.
    pub files: &'a dyn Files,
    /// The vars files of the repository.
    pub vars: &'a VarsFiles,
}

/// Reads a job file that came alone: it includes nothing and reads nothing. See [`parse_in`].
pub fn parse(source: Source<'_>, inputs: &Inputs) -> Parsed {
    parse_in(source, inputs, Surroundings { files: &NoFiles, vars: &VarsFiles::default() })
}

/// Reads a job file: YAML where the name ends in `.yaml` or `.yml`, else HCL (or its JSON form). Its path is the one
/// from the repository's root.
pub fn parse_in(source: Source<'_>, inputs: &Inputs, around: Surroundings<'_>) -> Parsed {
    let text = match source::text_of(source.bytes) {
        Ok(text) => text,
        Err(fault) => {
            let diagnostic =
                Diagnostic::file_error(fault.code, source.path, fault.message, fault.help);
            return Parsed { diagnostics: vec![diagnostic], ..Parsed::default() };
        }
    };
    let sink = Sink::new(source.path, text).naming_extensions(inputs.name_extensions);
    let reads = Reads::new(around.files);
    let mut found = Found::default();
    let around = Surroundings { files: &reads, ..around };
    let jobs = read(source.path, text, inputs, around, &mut found, &sink);
    let jobs = if sink.has_errors() { Vec::new() } else { jobs };
    let Found { headers, dependencies, variables, explained } = found;
    Parsed {
        jobs,
        headers,
        dependencies,
        diagnostics: sink.finish(),
        reads: reads.seen(),
        variables,
        explained,
    }
}

/// What is found on the way to the jobs.
#[derive(Default)]
struct Found {
    headers: Vec<(JobId, Related)>,
    dependencies: Vec<Dependency>,
    variables: Vec<VariableSource>,
    explained: Vec<Explained>,
}

fn read(
    path: &str,
    text: &str,
    inputs: &Inputs,
    around: Surroundings<'_>,
    found: &mut Found,
    sink: &Sink<'_>,
) -> Vec<Job> {
    let conflicts = source::conflict_markers(text);
    if !conflicts.is_empty() {
        // Everything else that is wrong with such a file follows from them.
        conflicts.into_iter().for_each(|fault| sink.error(fault));
        return Vec::new();
    }
    if source::is_api_json(text) {
        let Some(canonical) = api_json::parse(text, inputs.explain, sink) else {
            return Vec::new();
        };
        check::check(&canonical.job, &canonical.places, sink);
        let mut canonical = canonical;
        found.dependencies = order::dependencies(&canonical, sink);
        material::take_in(&mut canonical, path, around.files, sink);
        if inputs.explain {
            found.explained = provenance::explain(&canonical, &Sources::default(), &[], sink);
        }
        return vec![canonical.job];
    }
    let mut root = match tree(path, text, sink) {
        Ok(root) => root,
        Err(fault) => {
            sink.error(fault);
            return Vec::new();
        }
    };
    let whole = include::include(&mut root, (path, text), around.files, sink);
    let text = whole.as_ref();
    root::check(&root, Syntax::of(path) == Syntax::Yaml, sink);
    let settings = variables::Settings { path, inputs, around };
    let globals = variables::globals(&root, settings, text, sink, &mut found.variables);
    let sources = inputs.explain.then(|| Sources::of(&root));
    let blocks: Vec<_> = root.blocks("job").collect();
    let mut jobs: Vec<Job> = Vec::new();
    for (at, block) in blocks.into_iter().enumerate() {
        let header = block.header_span();
        if at > 0 {
            let message =
                "this is another job in the same file; Nomad reads files with one job only";
            sink.extension(header, message);
        }
        let Some(mut canonical) = job(block, &globals, inputs.explain, sink) else { continue };
        material::take_in(&mut canonical, path, around.files, sink);
        if let Some(sources) = &sources {
            let explained = provenance::explain(&canonical, sources, &found.variables, sink);
            found.explained.extend(explained);
        }
        found.dependencies.extend(order::dependencies(&canonical, sink));
        let job = canonical.job;
        if jobs.iter().any(|other| other.id == job.id) {
            let message = format!("the job `{}` is in this file twice", job.id);
            let help = "give it another name, or delete one of the two";
            sink.error(Fault::new("duplicate-job", header, message).help(help));
        }
        let (line, column) = sink.line_and_column(header);
        let place = Related {
            path: path.to_owned(),
            line,
            column,
            span: Some((header.start, header.end)),
            message: "the job is declared here".to_owned(),
        };
        found.headers.push((job.id.clone(), place));
        jobs.push(job);
    }
    jobs
}

fn job(
    block: &tree::Block<Expr>,
    globals: &expr::Globals<'_>,
    explain: bool,
    sink: &Sink<'_>,
) -> Option<Canonical> {
    let body = resolve::resolve(&block.body, schema::job(), Scope::root(globals));
    let block = tree::Block {
        kind: block.kind.clone(),
        kind_span: block.kind_span,
        labels: block.labels.clone(),
        body,
    };
    let canonical = canonical::job(&block, explain, sink)?;
    check::check(&canonical.job, &canonical.places, sink);
    Some(canonical)
}

fn tree(path: &str, text: &str, sink: &Sink<'_>) -> Result<Body<Expr>, Fault> {
    if Syntax::of(path) == Syntax::Yaml {
        // What stands in several documents is as if it stood in one.
        let documents = yaml::parse(text, sink).ok_or_else(Fault::reported)?;
        return Ok(documents.into_iter().fold(Body::default(), |mut all, body| {
            all.attributes.extend(body.attributes);
            all.blocks.extend(body.blocks);
            all.incomplete |= body.incomplete;
            all
        }));
    }
    if text.trim_start().starts_with('{') {
        return json::parse(text, sink).ok_or_else(Fault::reported);
    }
    hcl::parse(text, sink).ok_or_else(Fault::reported)
}
