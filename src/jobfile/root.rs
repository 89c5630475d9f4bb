//! What stands at the top of a file: what a job file may have there, and what other files have that end up in its place.

use crate::check::hint;
use crate::report::{Fault, Sink, Span};
use crate::schema;
use crate::suggest::did_you_mean;
use crate::tree::{Body, Expr};

/// Reports what does not belong there, and a file without a job.
pub(crate) fn check(root: &Body<Expr>, is_yaml: bool, sink: &Sink<'_>) {
    let has_job = root.blocks("job").next().is_some();
    if !has_job
        && !root.incomplete
        && let Some((what, help)) = foreign(root)
    {
        let message = format!("this is {what}, not a job file");
        sink.error(Fault::new("no-job", first(root), message).help(help));
        return;
    }
    let mut job_is_misspelt = false;
    for attribute in &root.attributes {
        let name = attribute.name.as_str();
        job_is_misspelt |= unknown("unknown-attribute", name, attribute.name_span, sink);
    }
    for block in &root.blocks {
        match schema::ROOT.block(&block.kind) {
            None => {
                let span = block.header_span();
                job_is_misspelt |= unknown("unknown-block", &block.kind, span, sink);
            }
            Some(rule) if block.labels.len() < rule.labels() => {
                let message = format!("`{}` needs a label", block.kind);
                let help = format!("write {} \"name\" {{ … }}", block.kind);
                sink.error(Fault::new("missing-label", block.header_span(), message).help(help));
            }
            Some(_) => {}
        }
    }
    if !has_job && !job_is_misspelt && !root.incomplete {
        let help = if is_yaml {
            "write job: { web: { group: { app: { task: { server: { … } } } } } }; `herder init -yaml` makes an example"
        } else {
            "write job \"name\" { group \"name\" { task \"name\" { … } } }; `herder init` makes an example"
        };
        sink.error(Fault::new("no-job", Span::default(), "the file has no job").help(help));
    }
}

/// Reports a name, and says whether `job` was meant by it.
fn unknown(code: &'static str, name: &str, span: Span, sink: &Sink<'_>) -> bool {
    let what = if code == "unknown-block" { "block" } else { "attribute" };
    let meant = did_you_mean(name, schema::ROOT.names().chain(["include"]));
    let is_job = meant.as_ref().is_some_and(|meant| meant.contains("`job`"));
    let help = meant.unwrap_or_else(|| {
        let inside = hint::at_the_top(name);
        inside.unwrap_or_else(|| "at the top stand job, variable, variables and locals".to_owned())
    });
    let message = format!("a job file has no {what} `{name}`");
    sink.error(Fault::new(code, span, message).help(help));
    is_job
}

/// The first thing that the file says.
fn first(root: &Body<Expr>) -> Span {
    let attributes = root.attributes.iter().map(|attribute| attribute.name_span);
    let blocks = root.blocks.iter().map(|block| block.header_span());
    attributes.chain(blocks).min().unwrap_or_default()
}

/// What a file is that was written for something else, and what to do about it.
fn foreign(root: &Body<Expr>) -> Option<(&'static str, &'static str)> {
    let has = |name: &str| root.attribute(name).is_some() || root.blocks(name).next().is_some();
    let any = |names: &[&str]| names.iter().any(|name| has(name));
    let example = "`herder init -yaml` makes an example to start from";
    if has("apiVersion") && has("kind") {
        return Some(("a Kubernetes manifest", example));
    }
    if any(&["terraform", "resource", "provider", "module", "output"]) {
        let help = "keep it outside of the folders of job files, or name it .tf";
        return Some(("a Terraform file", help));
    }
    if has("repo") && any(&["data_dir", "client", "plugin"]) {
        return Some(("the configuration of an agent", "start it with herder agent -config FILE"));
    }
    if any(&["data_dir", "bind_addr", "server", "client", "plugin", "telemetry", "advertise"]) {
        let help = "an agent reads its configuration by -config; keep it outside of the folders of job files";
        return Some(("the configuration of an agent", help));
    }
    if has("services") && root.blocks.is_empty() {
        return Some(("a Compose file", example));
    }
    let only_values = root.blocks.is_empty() && !root.attributes.is_empty();
    let knows = |name: &str| {
        hint::at_the_top(name).is_some() || did_you_mean(name, schema::ROOT.names()).is_some()
    };
    if only_values && !root.attributes.iter().any(|attribute| knows(&attribute.name)) {
        let help = "a file of values for variables is named NAME.vars.hcl";
        return Some(("a list of values", help));
    }
    None
}
