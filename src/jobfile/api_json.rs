//! Nomad's API JSON as a job file: `{"Job": {…}}`, or the job's object alone. There are no expressions in it: `${…}` is
//! for the node.

use crate::canonical::{self, Canonical};
use crate::json;
use crate::report::{Fault, Sink};
use crate::suggest::did_you_mean;
use crate::yaml::{Kind, Node};

/// Fields beside `Job` in what Nomad's tools send to its API.
const BESIDE: [&str; 17] = [
    "EnforceIndex",
    "JobModifyIndex",
    "PolicyOverride",
    "PreserveCounts",
    "PreserveResources",
    "EvalPriority",
    "Submission",
    "Region",
    "Namespace",
    "AuthToken",
    "SecretID",
    "Diff",
    "Filter",
    "Warnings",
    "Format",
    "Source",
    "WriteRequest",
];

/// Reads the job of such a text, and reports what is wrong with it.
pub(crate) fn parse(text: &str, explain: bool, sink: &Sink<'_>) -> Option<Canonical> {
    let node = json::read(text).map_err(|fault| sink.error(fault)).ok()?;
    canonical::api_job(job_of(&node, sink), explain, sink)
}

/// The job's object: the file's own, or that under `Job`.
fn job_of<'a>(node: &'a Node, sink: &Sink<'_>) -> &'a Node {
    let Kind::Map(items) = &node.kind else { return node };
    let is_job = |name: &str| name.eq_ignore_ascii_case("Job");
    let Some((_, job)) = items.iter().find(|(key, _)| is_job(&key.text)) else { return node };
    for (key, _) in items.iter().filter(|(key, _)| !is_job(&key.text)) {
        if !BESIDE.iter().any(|known| known.eq_ignore_ascii_case(&key.text)) {
            let message = format!("beside `Job` there is no field `{}`", key.text);
            let help = did_you_mean(&key.text, BESIDE.into_iter().chain(["Job"]));
            let fault = Fault::new("unknown-attribute", key.span, message);
            sink.error(fault.help(help.unwrap_or_default()));
        }
    }
    job
}
