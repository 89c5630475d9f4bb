//! Job files that strangers have written must parse. They lie outside the repository, where there are any.

#![expect(clippy::disallowed_methods, reason = "the corpus is files")]

use std::path::{Path, PathBuf};

use jobfile::{Inputs, Source, holds_job, is_job_file_name, parse, render};

/// Of all job files there, so many in a hundred must be free of errors.
const MIN_PERCENT: usize = 96;

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/nomad");
    root.canonicalize().ok()
}

fn files(under: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(under) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if is_job_file_name(&path.to_string_lossy()) {
            found.push(path);
        }
    }
}

/// Strangers' files want values for their variables; any will do.
fn inputs(text: &str) -> Inputs {
    let names = text.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("variable")?.trim_start().strip_prefix('"')?;
        name.split('"').next().map(str::to_owned)
    });
    let mut inputs = Inputs::default();
    let without_default = parse(Source { path: "x.nomad", bytes: text.as_bytes() }, &inputs);
    for name in names {
        let missing = format!("the variable `{name}` has no value");
        if without_default.diagnostics.iter().any(|found| found.message == missing) {
            inputs.variables.insert(name, "1".into());
        }
    }
    inputs
}

#[test]
fn files_of_strangers_parse() {
    let Some(root) = corpus() else {
        eprintln!("skipped: there is no corpus beside the workspace");
        return;
    };
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    let (mut total, mut good) = (0, 0);
    for path in paths {
        let bytes = std::fs::read(&path).expect("reads");
        let name = path.strip_prefix(&root).expect("is under the root").to_string_lossy();
        if !holds_job(&name, &bytes) {
            continue;
        }
        total += 1;
        let text = String::from_utf8_lossy(&bytes);
        let parsed = parse(Source { path: &name, bytes: &bytes }, &inputs(&text));
        // A job that is understood and held back for what it asks is not misread.
        let errors: Vec<_> = parsed
            .diagnostics
            .iter()
            .filter(|found| found.is_error() && found.code != "not-run-yet")
            .collect();
        if !errors.is_empty() {
            for found in errors {
                println!("{}\n", render(found, Some(&text), false));
            }
        } else {
            good += 1;
        }
    }
    println!("{good} of {total} files parse without errors");
    assert!(good * 100 >= total * MIN_PERCENT, "only {good} of {total} files parse");
}
