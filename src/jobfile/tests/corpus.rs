//! Job files that strangers have written must parse. They lie outside the repository, where there are any.

#![expect(clippy::disallowed_methods, reason = "the corpus is files")]

use std::path::{Path, PathBuf};

use jobfile::{
    Files, Inputs, Source, Surroundings, VarsFiles, holds_job, is_job_file_name, parse, parse_in,
    render,
};

/// Of all job files there, so many in a hundred must be free of errors.
const MIN_PERCENT: usize = 97;

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

/// The repository that a stranger's file lies in: its folder in the corpus. Files that were not taken along are empty.
struct Repository<'a>(&'a Path);

impl Files for Repository<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(std::fs::read(self.0.join(path)).unwrap_or_default()))
    }

    fn list(&self, _folder: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// Strangers' files want values for their variables; any of the right type will do.
fn inputs(text: &str) -> Inputs {
    let mut inputs = Inputs::default();
    let without_values = parse(Source { path: "x.nomad", bytes: text.as_bytes() }, &inputs);
    for block in text.split("\nvariable").chain(text.strip_prefix("variable")) {
        let Some(name) = block.split('"').nth(1) else { continue };
        let missing = format!("the variable `{name}` has no value");
        if without_values.diagnostics.iter().any(|found| found.message == missing) {
            let body = block.split("\n}").next().unwrap_or_default();
            let of = |kind: &str| {
                body.lines().any(|line| {
                    let line = line.trim_start();
                    line.starts_with("type") && line.contains(kind)
                })
            };
            let value = match name {
                "access_mode" => "single-node-writer",
                "attachment_mode" => "file-system",
                _ if of("list") || of("set") => "[]",
                _ if of("map") || of("object") => "{}",
                _ => "1",
            };
            inputs.variables.insert(name.to_owned(), value.into());
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
        let around = Surroundings { files: &Repository(&root), vars: &VarsFiles::default() };
        let parsed = parse_in(Source { path: &name, bytes: &bytes }, &inputs(&text), around);
        // A job that is understood and held back for what it asks is not misread.
        let errors: Vec<_> = parsed.diagnostics.iter().filter(|found| found.is_error()).collect();
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
