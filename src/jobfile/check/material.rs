//! What a task finds in its folders: artifacts and templates.

use std::collections::HashMap;

use model::{Artifact, Task, Template};

use super::{Rules, escapes};

pub(super) fn artifacts(rules: &Rules<'_>, path: &str, task: &Task) {
    for (n, artifact) in task.artifacts.iter().enumerate() {
        let block = format!("{path}/artifact.{n}");
        if artifact.source.as_deref() == Some("") {
            let place = format!("{block}/source");
            rules.error("missing-attribute", &place, "`source` is empty", "where it comes from");
        }
        if escapes(&artifact.destination, "task") {
            rules.leaves_folder(
                &format!("{block}/destination"),
                &artifact.destination,
                "the allocation's folder",
            );
        }
        checksum(rules, &block, artifact);
        if let Some((attribute, message, help)) = never_comes(artifact) {
            rules.warning("artifact-fails", &format!("{block}/{attribute}"), message, help);
        }
    }
}

/// What is sure to fail on every node: the attribute, why, and what to do.
fn never_comes(artifact: &Artifact) -> Option<(&'static str, String, &'static str)> {
    let source = artifact.source.as_deref().unwrap_or_default();
    let kinds = "an artifact comes from http, https, git (git::https://…, github.com/…) or s3";
    if !source.is_empty() && !source.contains("${") {
        let (getter, rest) = source.split_once("::").unwrap_or(("", source));
        let scheme = rest.split_once("://").map(|(scheme, _)| scheme);
        let kind = if getter.is_empty() { scheme.unwrap_or_default() } else { getter };
        if kind == "file" || scheme == Some("file") {
            return Some(("source", "a node's own files are no artifact".to_owned(), kinds));
        }
        if !["", "http", "https", "git", "s3"].contains(&kind) {
            return Some(("source", format!("sources of type `{kind}` are not fetched"), kinds));
        }
        let is_path = source.starts_with(['/', '.']);
        if is_path && scheme.is_none() {
            return Some(("source", format!("`{source}` is a path of the node"), kinds));
        }
    }
    let destination = artifact.destination.as_str();
    let first: Vec<&str> =
        destination.split('/').filter(|part| !matches!(*part, "" | ".")).take(3).collect();
    let elsewhere = match first.as_slice() {
        ["..", "alloc", "logs", ..] | ["private", ..] => true,
        ["..", folder, ..] => *folder != "alloc" && *folder != ".." && !folder.contains("${"),
        _ => false,
    };
    let help = "it goes into the task's folder (local/…, secrets/…) or into ../alloc/…";
    elsewhere.then(|| ("destination", format!("nothing is downloaded into `{destination}`"), help))
}

fn checksum(rules: &Rules<'_>, block: &str, artifact: &Artifact) {
    let Some(checksum) = artifact.options.get("checksum") else { return };
    // `file:` and an address: a list of checksums.
    if checksum.contains("${") || checksum.trim().starts_with("file:") {
        return;
    }
    let error = |message: String, help: &str| {
        rules.error("invalid-artifact", &format!("{block}/options/checksum"), message, help);
    };
    let example = "for example \"sha256:\" and 64 hexadecimal digits";
    let parts: Vec<&str> = checksum.trim().split(':').collect();
    let [kind, digest] = parts.as_slice() else {
        return error("`checksum` is `type:value`".to_owned(), example);
    };
    let length = match *kind {
        "md5" => 32,
        "sha1" => 40,
        "sha256" => 64,
        "sha512" => 128,
        _ => {
            let message = format!("`{kind}` is no type of checksum: md5, sha1, sha256, sha512");
            return error(message, example);
        }
    };
    if digest.len() != length || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        let message = format!(
            "a {kind} checksum has {length} hexadecimal digits, this has {} characters",
            digest.chars().count()
        );
        error(message, "");
    }
}

pub(super) fn templates(rules: &Rules<'_>, path: &str, task: &Task) {
    let mut destinations: HashMap<&str, String> = HashMap::new();
    for (n, template) in task.templates.iter().enumerate() {
        let block = format!("{path}/template.{n}");
        template_of(rules, &block, template);
        let destination = template.destination.as_str();
        let place = format!("{block}/destination");
        if destination.is_empty() {
            if rules.places.is_whole(&block) {
                let help = "where the result goes: destination = \"local/…\"";
                rules.error("missing-attribute", &block, "`template` needs `destination`", help);
            }
        } else if escapes(destination, "task") {
            rules.leaves_folder(&place, destination, "the allocation's folder");
        } else if let Some(first) = destinations.insert(destination, place.clone()) {
            let message = format!("two templates are written to `{destination}`");
            let first = (first, "the first is here");
            rules.error_also(
                "duplicate-name",
                &place,
                message,
                "give one of them another destination",
                first,
            );
        }
    }
}

fn template_of(rules: &Rules<'_>, block: &str, template: &Template) {
    let own = |name: &str| format!("{block}/{name}");
    let error = |name: &str, message: &str, help: &str| {
        rules.error("invalid-template", &own(name), message, help);
    };
    // An empty text is a template of an empty file.
    let (source, data) =
        (!template.source.is_empty(), rules.places.has(&own("data")) || !template.data.is_empty());
    if source && data {
        rules.error_also(
            "invalid-template",
            &own("source"),
            "`source` and `data` exclude each other",
            "the template is a file, or it is written here",
            (own("data"), "written here"),
        );
    } else if !source && !data && rules.places.is_whole(block) {
        let help = "data = <<EOF … EOF, or a file: source = \"local/…\"";
        rules.error("missing-attribute", block, "`template` needs `data` or `source`", help);
    }
    match template.change_mode.as_str() {
        "signal" if template.envvars => error(
            "change_mode",
            "a signal cannot bring a task new environment variables",
            "with env = true the task must start anew: change_mode = \"restart\"",
        ),
        "script" if template.change_script.is_none() && rules.places.is_whole(block) => error(
            "change_mode",
            "`change_mode = \"script\"` needs `change_script`",
            "add change_script { command = … }, on lines of their own",
        ),
        _ => {}
    }
    let signal = template.change_signal.as_str();
    if !signal.is_empty()
        && template.change_mode != "signal"
        && rules.places.has(&own("change_signal"))
    {
        let message = format!(
            "`change_signal` has no effect with `change_mode = \"{}\"`",
            template.change_mode
        );
        rules.warning(
            "no-effect",
            &own("change_signal"),
            message,
            "write change_mode = \"signal\"",
        );
    }
    if template.change_script.is_some() && template.change_mode != "script" {
        let message = format!(
            "`change_script` has no effect with `change_mode = \"{}\"`",
            template.change_mode
        );
        rules.warning(
            "no-effect",
            &own("change_script"),
            message,
            "write change_mode = \"script\"",
        );
    }
    let perms = template.perms.as_str();
    if !perms.is_empty() && !u16::from_str_radix(perms, 8).is_ok_and(|mode| mode <= 0o7777) {
        let message = format!("`{perms}` are no permissions");
        error("perms", &message, "three or four digits from 0 to 7, as in \"0644\"");
    }
    if let Some(wait) = &template.wait
        && let (Some(min), Some(max)) = (wait.min, wait.max)
        && min > max
    {
        error("wait", "`min` must not be longer than `max`", "");
    }
}
