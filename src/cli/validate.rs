//! `herder validate`: what is wrong with job files, before anybody commits them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use gitrepo::{FileKind, WorkTree};
use model::Diagnostic;

use crate::failure::Failure;
use crate::output::{self, BOLD, GREEN, RED, YELLOW, styled};

/// More than a job file may have, so that the parser is the one to say that it is too large.
pub(crate) const FILE_LIMIT: u64 = 64 << 20;

/// Flags of `herder validate`.
#[derive(Args, Debug)]
pub struct ValidateArguments {
    /// Job files, or folders to search for them; `-` reads one from standard input
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Value for a variable of the job files; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ValidateArguments) -> Result<ExitCode, Failure> {
    let flags = variables(&arguments.variables)?.into_iter().collect();
    let inputs = jobfile::Inputs { flags, lenient: true, ..jobfile::Inputs::default() };
    let mut files = BTreeMap::new();
    for path in &arguments.paths {
        files.extend(read(path).map_err(|error| Failure::from(error).with_code(255))?);
    }
    if files.is_empty() {
        return Err(Failure::from(anyhow::anyhow!("there are no job files here")).with_code(255));
    }
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut owners: BTreeMap<model::JobId, &str> = BTreeMap::new();
    let mut jobs = 0;
    for (path, bytes) in &files {
        let parsed = jobfile::parse(jobfile::Source { path, bytes }, &inputs);
        found.extend(parsed.diagnostics);
        for job in parsed.jobs {
            jobs += 1;
            if let Some(owner) = owners.insert(job.id.clone(), path) {
                found.push(Diagnostic::file_error(
                    "duplicate-job",
                    path,
                    format!("job `{}` is already declared by {owner}", job.id),
                    "give one of them another name, or remove one of the files",
                ));
            }
        }
    }
    // What stops a file comes first.
    found.sort_by_key(|diagnostic| {
        (
            std::cmp::Reverse(diagnostic.severity),
            diagnostic.path.clone(),
            diagnostic.line,
            diagnostic.column,
        )
    });
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = found.len() - errors;
    if arguments.json {
        output::json(&found)?;
    } else {
        for diagnostic in &found {
            let text =
                files.get(&diagnostic.path).and_then(|bytes| std::str::from_utf8(bytes).ok());
            anstream::println!("{}\n", jobfile::render(diagnostic, text, true));
        }
        let count = |number: usize, word: &str| {
            format!("{number} {word}{}", if number == 1 { "" } else { "s" })
        };
        let verdict = match (errors, warnings) {
            (0, 0) => styled(GREEN, "no problems"),
            (0, _) => styled(YELLOW, count(warnings, "warning")),
            (_, 0) => styled(RED, count(errors, "error")),
            _ => styled(RED, format!("{}, {}", count(errors, "error"), count(warnings, "warning"))),
        };
        anstream::eprintln!(
            "{}: {} in {}",
            styled(BOLD, verdict),
            count(jobs, "job"),
            count(files.len(), "file")
        );
    }
    let failed = errors > 0 || (arguments.strict && warnings > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `name=value` pairs.
pub(crate) fn variables(pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    pairs
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
            None => bail!("`--var {pair}` has no value; write --var {pair}=VALUE"),
        })
        .collect()
}

/// The job files that a path names, by the name to show.
fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(16 << 20)
            .read_to_end(&mut bytes)
            .context("reading standard input")?;
        return Ok(BTreeMap::from([("stdin".to_owned(), bytes)]));
    }
    let data =
        std::fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if data.is_file() {
        let bytes =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        return Ok(BTreeMap::from([(path.display().to_string(), bytes)]));
    }
    let prefix = if path == Path::new(".") { PathBuf::new() } else { path.to_owned() };
    let files = job_files(path)?;
    Ok(files
        .into_iter()
        .map(|(name, bytes)| (prefix.join(name).display().to_string(), bytes))
        .collect())
}

/// All job files beneath a folder, by their path within it.
pub(crate) fn job_files(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let tree = WorkTree::open(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = BTreeMap::new();
    for file in tree.list(&[])?.files {
        let path = file.path;
        if !jobfile::is_job_file_name(&path) || file.kind != FileKind::File {
            continue;
        }
        let (_, bytes) = tree.read(&path, FILE_LIMIT).with_context(|| format!("reading {path}"))?;
        if jobfile::holds_job(&path, &bytes) {
            files.insert(path, bytes);
        }
    }
    Ok(files)
}
