//! What a task says to `java`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::exec::{Asked, IsolationOptions, read_asked};
use crate::settings::Settings;

/// A task's settings, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    class: String,
    class_path: String,
    jar_path: String,
    jvm_options: Vec<String>,
    args: Vec<String>,
    pub(super) asked: Asked,
}

/// Reads the settings; the second part says what is wrong with them or not allowed on this node.
pub(super) fn parse(
    values: &BTreeMap<String, Value>,
    options: &IsolationOptions,
) -> (Config, Vec<String>) {
    let mut settings = Settings::new(values);
    let s = &mut settings;
    let config = Config {
        class: s.text("class").unwrap_or_default(),
        class_path: s.text("class_path").unwrap_or_default(),
        jar_path: s.text("jar_path").unwrap_or_default(),
        jvm_options: s.list("jvm_options"),
        args: s.list("args"),
        asked: read_asked(s, options),
    };
    match (config.class.is_empty(), config.jar_path.is_empty()) {
        (true, true) => s.problem("`jar_path` or `class` is missing"),
        (false, false) => s.problem("`jar_path` and `class` exclude each other; keep one"),
        _ => {}
    }
    if config.arguments().iter().any(|text| text.contains('\0')) {
        s.problem("the arguments must not hold a NUL byte");
    }
    (config, settings.finish())
}

impl Config {
    /// The arguments in the order in which Java wants them.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = self.jvm_options.clone();
        if !self.class_path.is_empty() {
            arguments.extend(["-cp".to_owned(), self.class_path.clone()]);
        }
        if !self.jar_path.is_empty() {
            arguments.extend(["-jar".to_owned(), self.jar_path.clone()]);
        }
        if !self.class.is_empty() {
            arguments.push(self.class.clone());
        }
        arguments.extend(self.args.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (Config, Vec<String>) {
        let values = serde_json::from_value(value).expect("a map");
        parse(&values, &IsolationOptions::new("/x", "i"))
    }

    #[test]
    fn arguments_come_in_javas_order() {
        let (config, problems) = read(json!({
            "class": "Hello", "class_path": "/local:/local/lib", "jvm_options": ["-Xmx64m"],
            "args": ["a"],
        }));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.arguments(), ["-Xmx64m", "-cp", "/local:/local/lib", "Hello", "a"]);
        let (config, _) = read(json!({"jar_path": "local/a.jar"}));
        assert_eq!(config.arguments(), ["-jar", "local/a.jar"]);
    }

    #[test]
    fn something_to_run_has_to_be_named_once() {
        assert!(read(json!({})).1.join("").contains("`jar_path` or `class` is missing"));
        let both = read(json!({"jar_path": "a.jar", "class": "A"})).1.join("");
        assert!(both.contains("exclude each other"), "{both}");
    }
}
