//! The house holds: which crate may use which, and which may not know of the outside world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What each crate may use of ours. A crate that is not here has no place in the house.
const HOUSE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("template", &["model"]),
    ("jobfile", &["model", "template"]),
    ("state", &["model"]),
    ("evaluator", &["model", "state"]),
    ("consensus", &["model", "state"]),
    ("identity", &["model"]),
    ("rpc", &["model", "identity"]),
    ("gitrepo", &["model"]),
    ("artifact", &["model"]),
    ("driver", &["model"]),
    ("client", &["model"]),
    ("network", &["model"]),
    ("node", &["model", "driver", "artifact", "network", "template"]),
    ("catalog", &["model", "state"]),
    ("server", &["model", "state", "evaluator", "consensus", "gitrepo", "jobfile", "identity"]),
    ("api", &["model", "state", "evaluator", "consensus", "gitrepo", "server", "catalog"]),
    ("cli", &["model", "client", "jobfile", "gitrepo", "identity"]),
    // Stands in for a library of openraft's; see src/consensus/no_histogram.
    ("base2histogram", &[]),
    // Wires all others together.
    (
        "agent",
        &[
            "model",
            "state",
            "consensus",
            "gitrepo",
            "driver",
            "network",
            "artifact",
            "node",
            "server",
            "catalog",
            "api",
            "jobfile",
            "identity",
            "rpc",
        ],
    ),
    ("herder", &["model", "driver", "artifact", "network", "cli", "agent"]),
];

/// The functional core: no runtime, no sockets, no disks, no processes.
const CORE: &[&str] = &["model", "template", "jobfile", "state", "evaluator"];
const SHELL: &[&str] = &[
    "tokio",
    "tokio-util",
    "axum",
    "hyper",
    "ureq",
    "git2",
    "bollard",
    "notify",
    "nix",
    "redb",
    "openraft",
    "rand",
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().expect("name");
            let uses = package["dependencies"].as_array().expect("dependencies");
            let uses = uses
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("name").to_owned())
                .collect();
            (name.to_owned(), uses)
        })
        .collect()
}

fn short(package: &str) -> &str {
    package.strip_prefix("herder-").unwrap_or(package)
}

#[test]
fn dependencies_go_one_way() {
    let house: BTreeMap<&str, &[&str]> = HOUSE.iter().copied().collect();
    for (package, uses) in dependencies() {
        let allowed = house
            .get(short(&package))
            .unwrap_or_else(|| panic!("crate `{package}` has no place in tests/architecture.rs"));
        let ours = uses.iter().filter(|name| name.starts_with("herder-"));
        for name in ours {
            assert!(allowed.contains(&short(name)), "`{package}` may not use `{name}`");
        }
    }
}

#[test]
fn the_core_has_no_shell_in_it() {
    let dependencies = dependencies();
    for room in CORE {
        let uses = &dependencies[&format!("herder-{room}")];
        for shell in SHELL {
            assert!(!uses.contains(*shell), "`{room}` is core and may not use `{shell}`");
        }
    }
}

#[test]
fn rooms_are_named_for_what_they_hold() {
    let mut wrong = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if ["utils", "util", "common", "helpers", "helper", "manager", "misc", "imp", "mod"]
            .contains(&stem)
        {
            wrong.push(path.display().to_string());
        }
    });
    assert!(wrong.is_empty(), "names that say nothing: {wrong:?}");
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |path| {
        let lines = std::fs::read_to_string(path).expect("source is text").lines().count();
        if lines > 600 {
            long.push(format!("{} has {lines} lines", path.display()));
        }
    });
    assert!(long.is_empty(), "split where a reader would expect it: {long:?}");
}

fn visit(folder: &Path, with: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            visit(&path, with);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            with(&path);
        }
    }
}
