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

#[cfg(test)]
mod tests {
    use model::Job;

    use crate::{Inputs, Parsed, Source, parse};

    fn read(text: &str) -> Parsed {
        parse(Source { path: "a.nomad", bytes: text.as_bytes() }, &Inputs::default())
    }

    fn job(text: &str) -> Job {
        let parsed = read(text);
        assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
        parsed.jobs.into_iter().next().expect("has a job")
    }

    fn errors(text: &str) -> Vec<String> {
        let found = read(text).diagnostics;
        let errors = found.iter().filter(|found| found.is_error());
        errors
            .map(|found| {
                format!("{}:{} {} {}", found.line, found.column, found.message, found.help)
            })
            .collect()
    }

    const SMALL: &str = r#"{"Job": {"ID": "web", "TaskGroups": [{"Name": "g", "Count": null, "Tasks": [
{"Name": "t", "Driver": "raw_exec", "Config": {"command": "x", "map": {"a": 1}}, "KillTimeout": "1m30s",
 "ShutdownDelay": 2000000000}
]}]}}"#;

    #[test]
    fn is_the_same_job_as_in_a_job_file() {
        let hcl = r#"job "web" {
  group "g" {
    task "t" {
      driver         = "raw_exec"
      kill_timeout   = "90s"
      shutdown_delay = "2s"
      config {
        command = "x"
        map     = { a = 1 }
      }
    }
  }
}
"#;
        assert_eq!(job(SMALL), job(hcl));
        let bare = SMALL.replacen("{\"Job\": ", "", 1);
        let bare = bare.strip_suffix('}').expect("has a brace");
        assert_eq!(job(bare), job(hcl), "without `Job` around it");
        let other_case =
            SMALL.replace("TaskGroups", "taskgroups").replace("KillTimeout", "killTimeout");
        assert_eq!(job(&other_case), job(hcl));
        let of_server = SMALL.replace(
            "\"ID\": \"web\"",
            "\"ID\": \"web\", \"Status\": \"running\", \"Version\": 3, \"SubmitTime\": 5, \"VersionTag\": null",
        );
        assert_eq!(job(&of_server), job(hcl));
        let envelope = SMALL.replacen('{', "{\"EnforceIndex\": false, ", 1);
        assert_eq!(job(&envelope), job(hcl));
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        for (from, to, wanted) in [
            ("\"Driver\"", "\"Drivr\"", "2:15 `Tasks` has no field `Drivr` did you mean `Driver`?"),
            ("\"raw_exec\"", "7", "2:25 `Driver` is a string, this is a number "),
            ("null", "\"3\"", "1:61 `Count` is a number, this is a string "),
            (
                "\"1m30s\"",
                "\"90\"",
                "2:97 `90` is not a duration write a number with a unit, such as \"30s\", \"1m30s\" or \"500ms\"",
            ),
            ("\"Name\": \"t\", ", "", "2:1 an object in `Tasks` needs `Name` "),
            (
                "\"ID\": \"web\"",
                "\"id\": \"\"",
                "1:16 the job needs an `ID` write \"ID\": \"name\"",
            ),
            ("{\"command\": \"x\", \"map\": {\"a\": 1}}", "[]", ""),
            ("\"Config\"", "\"Env\"", "2:68 `map` is a string, this is an object "),
            (
                "{\"Job\"",
                "{\"Enforce\": 1, \"Job\"",
                "1:2 beside `Job` there is no field `Enforce` ",
            ),
        ] {
            let text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL);
            let found = errors(&text);
            if wanted.is_empty() {
                assert!(!found.is_empty(), "{text}");
            } else {
                assert!(found.iter().any(|found| found == wanted), "{wanted}\n{found:#?}");
            }
        }
    }

    #[test]
    fn nothing_in_it_is_evaluated() {
        let text = SMALL.replace("\"x\"", "\"${var.x} ${1 + 1} $${y}\"");
        assert_eq!(job(&text).task_groups[0].tasks[0].config["command"], "${var.x} ${1 + 1} $${y}");
    }

    #[test]
    fn any_bytes_are_survived() {
        for text in [
            "{\"Job\": {}}",
            "{\"Job\": {\"TaskGroups\": [null, 1, []]}}",
            "{\"ID\": 1}",
            "{\"ID\"",
        ] {
            assert!(read(text).has_errors(), "{text}");
        }
    }
}
