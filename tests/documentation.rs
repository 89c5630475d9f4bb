//! The documentation says what the code does: every code of a finding has its section and every example there causes it,
//! every job in the documentation is valid, and every setting of the agent is described.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jobfile::{Inputs, Parsed, Source, holds_job, parse};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files_beneath(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_beneath(&path, found) } else { found.push(path) }
    }
}

/// A fenced block of a document: what stands behind the fence, its text and the heading that it is under.
struct Example {
    kind: String,
    text: String,
    heading: String,
}

/// The examples of a document that are HCL or YAML.
fn examples(document: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut heading = String::new();
    let mut is_open = false;
    for line in document.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            if !is_open {
                let (kind, heading) = (kind.to_owned(), heading.clone());
                found.push(Example { kind, text: String::new(), heading });
            }
            is_open = !is_open;
        } else if let Some(example) = found.last_mut().filter(|_| is_open) {
            example.text += line;
            example.text.push('\n');
        } else if let Some(title) = line.strip_prefix("## ") {
            title.trim().clone_into(&mut heading);
        }
    }
    assert!(!is_open, "the last example is not closed");
    found.retain(|example| example.kind.starts_with("hcl") || example.kind == "yaml");
    found
}

/// Reads an example. One that is the inside of a `job`, `group` or `task` says so behind its fence.
fn parsed(example: &Example) -> Parsed {
    const BARE: &str = "driver = \"raw_exec\"\nconfig {\n  command = \"true\"\n}\n";
    let text = &example.text;
    let (name, whole) = match example.kind.as_str() {
        "yaml" => ("example.yaml", text.clone()),
        "hcl" => ("example.nomad.hcl", text.clone()),
        "hcl job" => (
            "example.nomad.hcl",
            format!("job \"j\" {{\n{text}\ngroup \"g\" {{\ntask \"t\" {{\n{BARE}}}\n}}\n}}\n"),
        ),
        "hcl group" => (
            "example.nomad.hcl",
            format!("job \"j\" {{\ngroup \"g\" {{\n{text}\ntask \"t\" {{\n{BARE}}}\n}}\n}}\n"),
        ),
        "hcl task" => (
            "example.nomad.hcl",
            format!("job \"j\" {{\ngroup \"g\" {{\ntask \"t\" {{\n{BARE}{text}\n}}\n}}\n}}\n"),
        ),
        other => panic!("`{other}` is no kind of example"),
    };
    parse(Source { path: name, bytes: whole.as_bytes() }, &Inputs::default())
}

fn headings(document: &str) -> BTreeSet<String> {
    document.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect()
}

/// Values of job files that look like codes.
const VALUES: [&str; 12] = [
    "block-device",
    "containerd-driver",
    "file-system",
    "host-to-task",
    "multi-node-multi-writer",
    "multi-node-reader-only",
    "multi-node-single-writer",
    "reader-only",
    "single-node-multi-writer",
    "single-node-reader-only",
    "single-node-single-writer",
    "single-node-writer",
];

/// The codes that a source file gives to findings: any text with a dash in it, and what is handed to a constructor.
fn codes_in(source: &str, found: &mut BTreeSet<String>) {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    for (at, _) in code.match_indices('"') {
        let (before, after) = (code[..at].trim_end(), &code[at + 1..]);
        let Some((word, _)) = after.split_once('"') else { return };
        let is_code = word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.ends_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let built =
            ["Fault::new(", "file_error(", "refused(file,"].iter().any(|end| before.ends_with(end));
        if is_code && !VALUES.contains(&word) && (built || word.contains('-')) {
            found.insert(word.to_owned());
        }
    }
}

#[test]
fn every_code_has_its_section() {
    let mut sources = Vec::new();
    for room in ["src/jobfile", "src/server", "src/cli/validate"] {
        files_beneath(&root().join(room), &mut sources);
    }
    let mut codes = BTreeSet::new();
    for path in sources {
        let name = path.to_string_lossy();
        let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
        if name.ends_with(".rs") && !is_test {
            codes_in(&fs::read_to_string(&path).expect("a source"), &mut codes);
        }
    }
    for code in ["symlink", "syntax", "deprecated", "unknown-port", "not-acted-on"] {
        assert!(codes.contains(code), "the scan does not find `{code}`");
    }
    let sections = headings(&read("docs/messages.md"));
    let missing: Vec<_> = codes.difference(&sections).collect();
    assert!(missing.is_empty(), "docs/messages.md has no section for {missing:?}");
    let stale: Vec<_> = sections.difference(&codes).collect();
    assert!(stale.is_empty(), "docs/messages.md explains what nobody says: {stale:?}");
}

#[test]
fn every_example_causes_its_message() {
    let examples = examples(&read("docs/messages.md"));
    assert!(examples.len() > 40, "these are too few: {}", examples.len());
    for example in examples {
        let found = parsed(&example).diagnostics;
        assert!(
            found.iter().any(|finding| finding.code == example.heading),
            "the example of {} causes {found:#?}",
            example.heading
        );
    }
}

#[test]
fn jobs_in_the_documentation_are_valid() {
    let mut seen = 0;
    for document in ["README.md", "docs/job-files.md"] {
        for example in examples(&read(document)) {
            let is_part = example.kind.contains(' ');
            if !is_part && !holds_job("example.yaml", example.text.as_bytes()) {
                // HCL that is a configuration of the agent.
                if !holds_job("example.hcl", example.text.as_bytes()) {
                    continue;
                }
            }
            seen += 1;
            let found = parsed(&example).diagnostics;
            assert!(
                found.is_empty(),
                "{document}, {}:\n{}{found:#?}",
                example.heading,
                example.text
            );
        }
    }
    assert!(seen >= 6, "only {seen} examples were looked at");
}

#[test]
fn both_syntaxes_of_the_first_example_are_the_same_job() {
    let examples = examples(&read("docs/job-files.md"));
    let first = |kind: &str| {
        let example = examples.iter().find(|example| example.kind == kind).expect("an example");
        parsed(example).jobs.pop().expect("a job")
    };
    assert_eq!(first("hcl"), first("yaml"));
}

#[test]
fn every_name_in_job_files_is_described() {
    let document = read("docs/job-files.md");
    let mut sources = Vec::new();
    files_beneath(&root().join("src/jobfile/schema"), &mut sources);
    let mut names = BTreeSet::new();
    for path in sources {
        let source = fs::read_to_string(&path).expect("a source");
        for constructor in [
            "text",
            "texts",
            "choice",
            "flag",
            "whole",
            "count",
            "duration",
            "port",
            "attribute",
            "text_map",
            "one",
            "many",
            "labelled",
            "keyed",
            "map",
            "any",
            "block",
        ] {
            let opening = format!("{constructor}(");
            let uses = source.split(opening.as_str()).skip(1);
            names.extend(
                uses.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
    assert!(names.len() > 120, "the scan finds only {names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| {
            !document.contains(&format!("`{name}`")) && !document.contains(&format!("`{name} "))
        })
        .collect();
    assert!(missing.is_empty(), "docs/job-files.md does not mention {missing:?}");
}

/// The whole command line.
fn program() -> clap::Command {
    let agent = <agent::AgentArguments as clap::Args>::augment_args(clap::Command::new("agent"));
    let program = clap::Command::new("herder").subcommand(agent);
    <cli::Command as clap::Subcommand>::augment_subcommands(program)
}

#[test]
fn commands_in_the_page_about_fleets_are_commands() {
    let document = read("docs/fleet.md");
    let mut seen = 0;
    for block in document.split("```sh\n").skip(1) {
        let text = block.split("```").next().unwrap_or_default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words = line.split(" > ").next().unwrap_or_default().split(' ').map(Into::into);
            let parsed = program().try_get_matches_from(cli::normalised_arguments(words));
            assert!(parsed.is_ok(), "`{line}`: {}", parsed.expect_err("not parsed"));
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn commands_about_fleets_are_described() {
    let document = read("docs/fleet.md");
    let program = program();
    let mut missing = Vec::new();
    let mut todo: Vec<(String, &clap::Command)> = program
        .get_subcommands()
        .filter(|one| ["server", "operator", "node", "token", "tls"].contains(&one.get_name()))
        .map(|one| (format!("herder {}", one.get_name()), one))
        .collect();
    while let Some((path, command)) = todo.pop() {
        let inner =
            command.get_subcommands().map(|one| (format!("{path} {}", one.get_name()), one));
        let before = todo.len();
        todo.extend(inner);
        if todo.len() == before && !document.contains(&path) {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "docs/fleet.md does not mention {missing:?}");
}

#[test]
fn every_setting_of_the_agent_is_described() {
    let document = read("docs/configuration.md");
    let settings = read("src/agent/config/file.rs");
    let settings: Vec<&str> = settings
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(crate) ")?.split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| !name.contains(' '))
        .collect();
    let flags = read("src/agent/arguments.rs");
    let flags: Vec<String> = flags
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "))
        .map(|(name, _)| format!("--{}", name.replace('_', "-")))
        .collect();
    assert!(settings.len() > 35 && flags.len() > 12, "{} and {}", settings.len(), flags.len());
    let missing: Vec<&str> = settings
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .filter(|name| {
            !document.contains(&format!("`{name}`")) && !document.contains(&format!("## {name}\n"))
        })
        .collect();
    assert!(missing.is_empty(), "docs/configuration.md does not mention {missing:?}");
}

/// A heading as the fragment of an address.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for name in ["job-files.md", "messages.md", "configuration.md", "fleet.md"] {
        let text = read(&format!("docs/{name}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = root().join("docs").join(if file.is_empty() { name } else { file });
            let other = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{name} links to {target}: {error}"));
            let is_there =
                other.lines().any(|line| line.starts_with('#') && anchor(line) == fragment);
            assert!(fragment.is_empty() || is_there, "{name} links to {target}");
            links += 1;
        }
    }
    assert!(links > 8, "only {links} links were found");
}

#[test]
fn example_deployments_have_no_findings() {
    let mut paths = Vec::new();
    files_beneath(&root().join("deploy-examples"), &mut paths);
    let mut jobs = 0;
    for path in paths {
        let name = path.to_string_lossy();
        let bytes = fs::read(&path).expect("a file");
        if !jobfile::is_job_file_name(&name) || !holds_job(&name, &bytes) {
            continue;
        }
        let read = parse(Source { path: &name, bytes: &bytes }, &Inputs::default());
        assert!(read.diagnostics.is_empty(), "{name}: {:#?}", read.diagnostics);
        jobs += read.jobs.len();
    }
    assert!(jobs > 0, "there is no example");
}

#[test]
fn the_scan_for_codes_sees_what_counts() {
    let mut found = BTreeSet::new();
    let source = "
        // \"not-this\"
        Fault::new(
            \"syntax\", at, \"some words\");
        let code = \"wrong-type\";
        other(\"plain\");
        #[cfg(test)]\nmod tests { Fault::new(\"x-y\") }
    ";
    codes_in(source, &mut found);
    assert_eq!(found, BTreeSet::from(["syntax".to_owned(), "wrong-type".to_owned()]));
}

/// The tests that a cell names, as `crate:test`.
fn tests_in(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    cell.split('`').skip(1).step_by(2).filter_map(|name| name.split_once(':'))
}

#[test]
fn every_row_of_nomads_semantics_has_its_test_or_says_so() {
    let document = read("docs/nomad-semantics.md");
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    let (mut rows, mut missing) = (0, Vec::new());
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "a row has Nomad, Herder and tests: {line}");
        let Some(cell) = cells.last().filter(|cell| !matches!(**cell, "test" | "no test")) else {
            continue;
        };
        rows += 1;
        assert!(tests_in(cell).next().is_some(), "neither a test nor `no test`: {line}");
        for (room, test) in tests_in(cell) {
            let source = sources.entry(room).or_insert_with(|| {
                let of_room = root().join("src").join(room);
                let folder =
                    if of_room.is_dir() { of_room } else { root().join("tests").join(room) };
                let mut files = Vec::new();
                files_beneath(&folder, &mut files);
                files.retain(|path| path.extension().is_some_and(|kind| kind == "rs"));
                let text = |path| fs::read_to_string(path).expect("a source");
                files.into_iter().map(text).collect()
            });
            if !source.contains(&format!("fn {test}(")) {
                missing.push(format!("{room}:{test}"));
            }
        }
    }
    assert!(rows > 100, "the scan finds {rows} rows only");
    assert!(
        missing.is_empty(),
        "docs/nomad-semantics.md names tests that are not there: {missing:?}"
    );
}
