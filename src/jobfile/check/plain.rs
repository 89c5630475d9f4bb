//! Secrets in plain text, and images that change by themselves. A value that may be secret is never repeated.

use model::{Task, secret};
use serde_json::Value;

use super::Rules;
use crate::report::Fault;

const HELP: &str = "whoever reads the repository reads it: make it a variable that gets its value from outside, and \
                    change the secret, because it stays in the history";

const PLAIN: &str = "plain-secret";

/// Fewer characters are no secret worth the name.
const SHORTEST: usize = 4;

pub(super) fn check(rules: &Rules<'_>, path: &str, task: &Task) {
    for (key, value) in &task.env {
        entry(rules, "env", || format!("{path}/env/{key}"), key, value);
    }
    for (key, value) in &task.meta {
        entry(rules, "meta", || format!("{path}/meta/{key}"), key, value);
    }
    for (key, value) in &task.config {
        deep(rules, &format!("{path}/config/{key}"), key, value, 0);
    }
    for (n, artifact) in task.artifacts.iter().enumerate() {
        let block = format!("{path}/artifact.{n}");
        let source = artifact.source.as_deref().unwrap_or_default();
        entry(rules, "artifact", || format!("{block}/source"), "source", source);
        for (key, value) in artifact.headers.iter().chain(&artifact.options) {
            let within = if artifact.headers.contains_key(key) { "headers" } else { "options" };
            entry(rules, "artifact", || format!("{block}/{within}/{key}"), key, value);
        }
    }
    for (n, template) in task.templates.iter().enumerate() {
        let place = format!("{path}/template.{n}/data");
        // Line by line, so that what is put in from elsewhere can be taken out.
        if without_actions(&template.data).lines().any(secret::holds_secret)
            && rules.sink.text_at(rules.places.at(&place), |written| {
                without_actions(written).lines().any(secret::holds_secret)
            })
        {
            said(rules, "template", &place, "the template has a secret in plain text");
        }
    }
    image(rules, path, task);
}

/// A text without `{{ … }}` and `${…}`.
fn without_actions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '$']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let close = if from.starts_with("{{") {
            "}}"
        } else if from.starts_with("${") {
            "}"
        } else {
            ""
        };
        match from.find(close).filter(|_| !close.is_empty()) {
            Some(end) => rest = from.get(end + close.len()..).unwrap_or_default(),
            None => {
                out.push_str(from.get(..1).unwrap_or_default());
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out + rest
}

/// A driver's settings; only the outer names have places.
fn deep(rules: &Rules<'_>, place: &str, key: &str, value: &Value, depth: usize) {
    match value {
        // The name of an image is none, whatever it is made of.
        Value::String(_) if key == "image" => {}
        Value::String(text) => entry(rules, "config", || place.to_owned(), key, text),
        Value::Array(items) if depth < 40 => {
            items.iter().for_each(|item| deep(rules, place, key, item, depth + 1));
        }
        Value::Object(items) if depth < 40 => {
            for (name, item) in items {
                let own = format!("{place}/{name}");
                let place = if rules.places.has(&own) { &own } else { place };
                deep(rules, place, name, item, depth + 1);
            }
        }
        _ => {}
    }
}

fn entry(rules: &Rules<'_>, block: &str, place: impl Fn() -> String, key: &str, value: &str) {
    if value.trim().len() < SHORTEST || !secret::looks_secret(key, value) {
        return;
    }
    let place = &place();
    // What a variable brings is not in plain text here.
    let (first_line, span) = (value.lines().next().unwrap_or_default(), rules.places.at(place));
    if rules.sink.has_warned(PLAIN, block, span) || !rules.sink.is_written(span, first_line) {
        return;
    }
    said(rules, block, place, &format!("`{key}` in `{block}` looks like a secret in plain text"));
}

fn said(rules: &Rules<'_>, block: &str, place: &str, message: &str) {
    rules.once(PLAIN, block, place, message, HELP);
}

/// An image without a version, or with one that moves, is another one after each pull.
fn image(rules: &Rules<'_>, path: &str, task: &Task) {
    if !matches!(task.driver.as_str(), "docker" | "podman") {
        return;
    }
    let Some(image) = task.config.get("image").and_then(Value::as_str) else { return };
    if image.contains("${") || image.contains('@') || image.is_empty() {
        return;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    let message = match name.split_once(':') {
        None => format!("the image `{image}` has no tag, which means `latest`"),
        Some((_, "latest")) => format!("the image `{image}` is another one after each pull"),
        Some(_) => return,
    };
    let span = rules.places.at(&format!("{path}/config/image"));
    let help =
        "name a version, or a digest: two allocations of one version may run different images";
    rules.sink.strict_warning(Fault::new("moving-image", span, message).help(help));
}
