//! `herder validate`: what is wrong with job files, before anybody commits them.

mod across;
mod report;
mod show;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jobfile::{Inputs, NoFiles, Source, Surroundings, VarsFiles};

use crate::failure::Failure;
use crate::inputs::InputArguments;
use crate::repository::Repository;
use report::Report;

/// After this time, somebody who watches is told how far it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Flags of `herder validate`.
#[derive(Args, Debug)]
#[command(after_help = "\
Values for variables come from NOMAD_VAR_* and HERDER_VAR_*, from vars files beside the job files and above them, \
from --var-file and from --var; what is named later wins.

Exit code: 0 valid, 1 something is wrong, 255 nothing could be read.")]
pub struct ValidateArguments {
    /// Job files, or folders to search for them; `-` reads one from standard input
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    inputs: InputArguments,
    /// Treat warnings as errors, and name what Nomad does not have
    #[arg(long)]
    strict: bool,
    /// Show every warning, also where there are many
    #[arg(long, short)]
    verbose: bool,
    /// How findings are written: for people, as annotations of GitHub, or one line each for editors
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print JSON
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print what a code of a finding means and what to do, and look at no file
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With the line, a marker and what to do
    Text,
    /// `::error file=…` for annotations
    Github,
    /// `path:line:column: error: message [code]`
    Short,
}

pub(crate) fn run(arguments: &ValidateArguments) -> Result<ExitCode, Failure> {
    let unreadable = |error: anyhow::Error| Failure::from(error).with_code(255);
    if let Some(code) = &arguments.explain {
        return explain(code, arguments.json).map_err(unreadable);
    }
    let inputs = Inputs {
        name_extensions: arguments.strict,
        ..arguments.inputs.inputs().map_err(unreadable)?
    };
    let report = examine(&arguments.paths, &inputs).map_err(unreadable)?;
    if report.files == 0 {
        let error = anyhow::anyhow!("there are no job files here");
        return Err(Failure::from(error).with_code(255));
    }
    if arguments.json {
        crate::output::json(&report.as_shown())?;
    } else {
        match arguments.format {
            Format::Text => show::text(&report, arguments.verbose),
            Format::Github => show::lines(&report, show::github),
            Format::Short => show::lines(&report, show::short),
        }
    }
    let failed = report.errors() > 0 || (arguments.strict && report.warnings() > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn explain(code: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let Some(section) = jobfile::explain(code) else {
        let known: Vec<&str> = jobfile::codes().collect();
        let near: Vec<&str> = known.iter().copied().filter(|known| is_like(known, code)).collect();
        let (words, codes) =
            if near.is_empty() { ("there are", known) } else { ("similar are", near) };
        anyhow::bail!("no finding has the code `{code}`; {words} {}", codes.join(", "));
    };
    if as_json {
        crate::output::json(&serde_json::json!({ "Code": code, "Text": section }))?;
    } else {
        anstream::println!("{section}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether somebody who writes the one may mean the other: they have a word in common.
fn is_like(known: &str, written: &str) -> bool {
    let written = written.to_lowercase();
    let words = written.split(['-', '_', ' ']).filter(|word| word.len() > 2);
    words.into_iter().any(|word| known.split('-').any(|part| part.starts_with(word)))
}

/// What was asked for in one repository.
struct Asked {
    repository: Repository,
    /// Paths from its root.
    paths: Vec<String>,
}

fn examine(paths: &[PathBuf], inputs: &Inputs) -> anyhow::Result<Report> {
    let mut repositories: BTreeMap<PathBuf, Asked> = BTreeMap::new();
    let mut report = Report::new()?;
    for path in paths {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin().take(16 << 20);
            { stdin }.read_to_end(&mut bytes).context("reading standard input")?;
            let vars = VarsFiles::default();
            let around = Surroundings { files: &NoFiles, vars: &vars };
            let parsed = jobfile::parse_in(Source { path: "stdin", bytes: &bytes }, inputs, around);
            report.add("stdin", bytes, parsed);
            continue;
        }
        let (repository, within) = Repository::around(path)?;
        let root = repository.root().to_owned();
        let asked =
            repositories.entry(root).or_insert_with(|| Asked { repository, paths: Vec::new() });
        asked.paths.push(within);
    }
    for (root, asked) in &repositories {
        report.enter(root);
        examine_repository(asked, inputs, &mut report)?;
    }
    report.settle();
    Ok(report)
}

fn examine_repository(asked: &Asked, inputs: &Inputs, report: &mut Report) -> anyhow::Result<()> {
    let Asked { repository, paths } = asked;
    let mut files = BTreeMap::new();
    let mut vars_files = std::collections::BTreeSet::new();
    for path in paths {
        files.extend(repository.job_files(path)?);
        vars_files.extend(repository.vars_files(path)?);
    }
    let vars = repository.read_vars(&vars_files);
    // A value that is meant for one of several files is no mistake in the others.
    let lenient = Inputs { lenient: inputs.lenient || files.len() > 1, ..inputs.clone() };
    let (count, begun) = (files.len(), Instant::now());
    let mut told = begun;
    let mut across = across::Across::default();
    let watched = std::io::stderr().is_terminal();
    for (number, (path, bytes)) in files.into_iter().enumerate() {
        if watched && begun.elapsed() > PATIENCE && told.elapsed() > PATIENCE / 10 {
            told = Instant::now();
            anstream::eprint!("\r{} of {} files", show::number(number), show::number(count));
        }
        let around = Surroundings { files: repository, vars: &vars };
        let parsed = jobfile::parse_in(Source { path: &path, bytes: &bytes }, &lenient, around);
        across.take(&path, &parsed);
        report.add(&path, bytes, parsed);
    }
    if watched && told != begun {
        anstream::eprint!("\r{:40}\r", "");
    }
    across.finish(paths, inputs, &vars, report);
    report.passed_over(&vars_files, inputs.environment.as_deref());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const JOB: &str = "variable \"image\" {}\njob \"NAME\" {\n  group \"g\" {\n    task \"t\" {\n      \
                       driver = \"raw_exec\"\n      config {\n        command = var.image\n      }\n    }\n  }\n}\n";

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join(".git")).expect("a folder");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("written");
        }
        dir
    }

    fn job(name: &str) -> String {
        JOB.replace("NAME", name)
    }

    fn found(dir: &tempfile::TempDir, paths: &[&str], inputs: &Inputs) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| dir.path().join(path)).collect();
        let report = examine(&paths, inputs).expect("reads");
        let line = |found: &report::Found| {
            let of = &found.diagnostic;
            format!("{}:{}: {}: {}", of.path, of.line, of.code, of.message)
        };
        report.found.iter().map(line).collect()
    }

    #[test]
    fn a_folder_is_read_as_the_agent_reads_it() {
        let dir = repository(&[
            ("jobs/a.hcl", &job("a")),
            ("jobs/b.hcl", &format!("include = [\"/lib/x.hcl\"]\n{}", job("b"))),
            ("lib/x.hcl", "locals {}"),
            ("all.vars.hcl", "image = \"one\"\n"),
        ]);
        let none = Inputs::default();
        assert_eq!(found(&dir, &["jobs"], &none), [""; 0]);
        assert_eq!(found(&dir, &["jobs/a.hcl", "jobs/b.hcl"], &none), [""; 0]);
        assert_eq!(found(&dir, &[""], &none), [""; 0]);
        fs::write(dir.path().join("all.vars.hcl"), "image = one\n").expect("written");
        let words = "all.vars.hcl:1: unknown-reference: `one` is no value, and nothing can be referred to in a vars file";
        assert_eq!(found(&dir, &["jobs"], &none), [words], "it is said once");
    }

    #[test]
    fn environments_and_values_that_nobody_takes_are_told() {
        let dir = repository(&[
            ("a.hcl", &job("a")),
            ("b/b.hcl", &job("b")),
            ("x.prod.vars.hcl", "image = \"prod\"\ntypo = 1\n"),
        ]);
        let prod = Inputs { environment: Some("prod".into()), ..Inputs::default() };
        let unused = "x.prod.vars.hcl:2: unused-value: no job file here or below declares the variable `typo`";
        assert_eq!(found(&dir, &[""], &prod), [unused]);
        assert_eq!(found(&dir, &["b"], &prod), [""; 0], "others may take it");
        let report = examine(&[dir.path().to_owned()], &Inputs::default()).expect("reads");
        assert_eq!((report.errors(), report.environments.len()), (2, 1));
        let flags = vec![("image".to_owned(), "x".to_owned()), ("imag".to_owned(), "x".to_owned())];
        let words = found(&dir, &[""], &Inputs { flags: flags.clone(), ..prod.clone() });
        assert!(words[0].starts_with("-var imag:0: unknown-variable"), "{words:?}");
        assert_eq!(found(&dir, &[""], &Inputs { flags, lenient: true, ..prod }), [unused]);
    }

    #[test]
    fn the_order_between_jobs_is_looked_at_across_files() {
        let after = |name: &str, on: &str| {
            job(name).replace(
                "{\n  group",
                &format!("{{\n  gitops {{\n    after = [\"{on}\"]\n  }}\n  group"),
            )
        };
        let dir = repository(&[
            ("a.hcl", &after("a", "b")),
            ("b.hcl", &after("b", "a")),
            ("web.hcl", &after("web", "db")),
            ("all.vars.hcl", "image = \"one\"\n"),
        ]);
        let none = Inputs::default();
        let words = [
            "a.hcl:4: circular-order: job `a` would wait for itself: a -> b -> a",
            "b.hcl:4: circular-order: job `b` would wait for itself: b -> a -> b",
            "web.hcl:4: unknown-job: job `web` starts after `db`, but no file of this repository declares `db`",
        ];
        assert_eq!(found(&dir, &[""], &none), words);
        let paths = [dir.path().join("web.hcl")];
        let report = examine(&paths, &none).expect("reads");
        assert_eq!((report.errors(), report.warnings()), (0, 1), "it was looked at alone");
    }

    #[test]
    fn codes_are_found_by_a_word_of_theirs() {
        assert!(is_like("invalid-duration", "duration"));
        assert!(is_like("unknown-port", "Port"));
        assert!(!is_like("unknown-port", "x"));
    }

    #[test]
    fn one_job_in_two_files_is_an_error() {
        let dir = repository(&[
            ("a.hcl", &job("a")),
            ("b.hcl", &job("a")),
            ("v.vars.hcl", "image = \"x\""),
        ]);
        let words = ["b.hcl:2: duplicate-job: job `a` is already declared by a.hcl"];
        assert_eq!(found(&dir, &[""], &Inputs::default()), words);
    }
}
