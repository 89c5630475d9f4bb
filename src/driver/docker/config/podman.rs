//! Files written for Nomad's Podman driver: its names for what Docker's files name otherwise.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Podman's name and Docker's.
const NAMES: [(&str, &str); 2] = [("working_dir", "work_dir"), ("userns", "userns_mode")];

/// The settings under Docker's names. What cannot be translated stays, to be named as unknown.
pub(super) fn translated(values: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut translated = values.clone();
    for (theirs, ours) in NAMES {
        if !translated.contains_key(ours)
            && let Some(value) = translated.remove(theirs)
        {
            translated.insert(ours.to_owned(), value);
        }
    }
    // Sizes in words: "64m".
    if let Some(bytes) = translated.get("shm_size").and_then(Value::as_str).and_then(bytes) {
        translated.insert("shm_size".to_owned(), json!(bytes));
    }
    let mut options: Vec<Value> =
        translated.get("security_opt").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = options.len();
    if let Some(Value::String(profile)) = translated.remove("apparmor_profile") {
        options.push(json!(format!("apparmor={profile}")));
    }
    if let Some(Value::Array(labels)) = translated.remove("selinux_opts") {
        let labels = labels.iter().filter_map(Value::as_str);
        options.extend(labels.map(|label| json!(format!("label={label}"))));
    }
    if options.len() > before {
        translated.insert("security_opt".to_owned(), Value::Array(options));
    }
    translated
}

/// A size with a letter for its unit.
fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, unit) = match text.as_bytes().last()? {
        b'k' => (text.strip_suffix('k')?, 1 << 10),
        b'm' => (text.strip_suffix('m')?, 1 << 20),
        b'g' => (text.strip_suffix('g')?, 1 << 30),
        _ => (text, 1),
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_names_become_dockers() {
        let values = serde_json::from_value(json!({
            "image": "x", "working_dir": "/w", "userns": "auto", "shm_size": "64m",
            "apparmor_profile": "mine", "selinux_opts": ["type:x"],
        }));
        let translated = translated(&values.expect("a map"));
        assert_eq!(
            json!(translated),
            json!({
                "image": "x", "work_dir": "/w", "userns_mode": "auto", "shm_size": 64 << 20,
                "security_opt": ["apparmor=mine", "label=type:x"],
            })
        );
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("1g"), Some(1 << 30));
        assert_eq!(bytes("10kb"), Some(10 << 10));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("many"), None);
        assert_eq!(bytes(""), None);
    }
}
