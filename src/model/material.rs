//! What a task finds in its folders: downloads and rendered files.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{BlobId, nanos, nullable, optional_nanos};

/// A download.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Artifact {
    /// Where it comes from.
    #[serde(rename = "GetterSource")]
    pub source: Option<String>,
    /// How it is fetched, such as `checksum`.
    #[serde(rename = "GetterOptions", with = "nullable")]
    pub options: BTreeMap<String, String>,
    /// Headers of the request.
    #[serde(rename = "GetterHeaders", with = "nullable")]
    pub headers: BTreeMap<String, String>,
    /// `any`, `file` or `dir`.
    #[serde(rename = "GetterMode")]
    pub mode: String,
    /// Whether any certificate is good enough.
    #[serde(rename = "GetterInsecure")]
    pub insecure: bool,
    /// Where it goes, from the task's folder.
    #[serde(rename = "RelativeDest")]
    pub destination: String,
    /// Whether the task's user owns it.
    pub chown: bool,
}

/// A file that is rendered from a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Template {
    /// The file with the template.
    #[serde(rename = "SourcePath")]
    pub source: String,
    /// Where the result goes, from the task's folder.
    #[serde(rename = "DestPath")]
    pub destination: String,
    /// The template itself.
    #[serde(rename = "EmbeddedTmpl")]
    pub data: String,
    /// What a change leads to: `restart`, `noop`, `signal` or `script`.
    pub change_mode: String,
    /// The script of `script`.
    pub change_script: Option<ChangeScript>,
    /// The signal of `signal`.
    pub change_signal: String,
    /// Rendered only before the first start.
    pub once: bool,
    /// The longest wait, by chance, before a change is acted on.
    #[serde(with = "nanos")]
    pub splay: Duration,
    /// Permissions, octal.
    pub perms: String,
    /// Owner.
    pub uid: Option<i64>,
    /// Group.
    pub gid: Option<i64>,
    /// What opens an action.
    pub left_delim: String,
    /// What closes an action.
    pub right_delim: String,
    /// Whether the result is the task's environment.
    pub envvars: bool,
    /// Kept for the wire; given up by Nomad.
    #[serde(with = "nanos")]
    pub vault_grace: Duration,
    /// How long changes are gathered.
    pub wait: Option<Wait>,
    /// Whether a key that is not there is an error.
    #[serde(rename = "ErrMissingKey")]
    pub error_on_missing_key: bool,
    /// What the file of [`Template::repository_path`] holds, as Git names it. A part of what the job is, so that a commit
    /// that changes the file alone makes a new version; empty for other templates.
    #[serde(skip_serializing_if = "is_unset")]
    pub source_blob: BlobId,
}

fn is_unset(blob: &BlobId) -> bool {
    blob.as_str().is_empty()
}

/// What a template's `source` begins with when it is a file of the repository.
const REPOSITORY: &str = "repo://";

impl Template {
    /// The file of the repository that is the template, from the repository's root; `None` where the source is no such
    /// file. `repo://a/b` is from the root, `repo://./b` and `repo://../b` from the job file's folder.
    ///
    /// # Errors
    /// When it names no file of the repository, in words.
    pub fn repository_path(&self, job_file: &str) -> Option<Result<String, String>> {
        let written = self.source.strip_prefix(REPOSITORY)?;
        let refused = |why: &str| Some(Err(format!("`{}` {why}", self.source)));
        if written.contains("${") {
            return refused("cannot depend on the node: the file is a part of what the job is");
        }
        let near = written.starts_with("./") || written.starts_with("../");
        let folder = job_file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = if near { folder } else { "" };
        let mut parts: Vec<&str> = Vec::new();
        for part in start.split('/').chain(written.split('/')) {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return refused("leads out of the repository"),
                ".." => {}
                part => parts.push(part),
            }
        }
        if parts.is_empty() || written.ends_with('/') || written.contains(['\0', '\\']) {
            return refused("names no file");
        }
        Some(Ok(parts.join("/")))
    }
}

impl Default for Template {
    fn default() -> Self {
        Self {
            source: String::new(),
            destination: String::new(),
            data: String::new(),
            change_mode: "restart".to_owned(),
            change_script: None,
            change_signal: String::new(),
            once: false,
            splay: Duration::from_secs(5),
            perms: "0644".to_owned(),
            uid: None,
            gid: None,
            left_delim: "{{".to_owned(),
            right_delim: "}}".to_owned(),
            envvars: false,
            vault_grace: Duration::ZERO,
            wait: None,
            error_on_missing_key: false,
            source_blob: BlobId::default(),
        }
    }
}

/// A command that runs in the task when its template changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChangeScript {
    /// The command.
    pub command: String,
    /// Its arguments. An empty list is written as such, as Nomad does here alone.
    pub args: Vec<String>,
    /// How long it may take.
    #[serde(with = "nanos")]
    pub timeout: Duration,
    /// Whether the task fails when it does.
    pub fail_on_error: bool,
    /// Whether it runs for the first result too.
    pub run_on_first_render: bool,
}

impl Default for ChangeScript {
    fn default() -> Self {
        Self {
            command: String::new(),
            args: Vec::new(),
            timeout: Duration::from_secs(5),
            fail_on_error: false,
            run_on_first_render: false,
        }
    }
}

/// How long changes are gathered before a template is rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Wait {
    /// At least.
    #[serde(with = "optional_nanos")]
    pub min: Option<Duration>,
    /// At most.
    #[serde(with = "optional_nanos")]
    pub max: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(source: &str) -> Option<Result<String, String>> {
        let template = Template { source: source.to_owned(), ..Template::default() };
        template.repository_path("jobs/eu/web.nomad.hcl")
    }

    #[test]
    fn files_of_the_repository_are_named_from_its_root_or_the_job_file() {
        for (source, file) in [
            ("repo://config/app.tpl", "config/app.tpl"),
            ("repo:///config//app.tpl", "config/app.tpl"),
            ("repo://./app.tpl", "jobs/eu/app.tpl"),
            ("repo://../app.tpl", "jobs/app.tpl"),
            ("repo://../../a/../b", "b"),
        ] {
            assert_eq!(path(source), Some(Ok(file.to_owned())), "{source}");
        }
        for source in ["local/app.tpl", "./app.tpl", ""] {
            assert_eq!(path(source), None, "{source}");
        }
        for source in [
            "repo://",
            "repo://..",
            "repo://../../../a",
            "repo://a/../../b",
            "repo://${meta.x}",
            "repo://a/",
        ] {
            assert!(path(source).is_some_and(|path| path.is_err()), "{source}");
        }
    }
}
