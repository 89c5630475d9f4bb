//! `herder job inspect`: the canonical form of a job, from a file or from the agent.

mod explain;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jobfile::{Form, Inputs, Parsed, Source, Surroundings, VarsFiles};
use model::wire::JobDocument;
use model::{Job, SpecHash};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::inputs::InputArguments;
use crate::output::write;
use crate::repository::Repository;

/// More than a job file may have, so that the parser is the one to say that it is too large.
const LIMIT: u64 = 16 << 20;

/// Flags of `herder job inspect`.
#[derive(Args, Debug)]
#[command(after_help = "\
What is printed is Nomad's API JSON with every default in it: {\"Job\": {…}}, and a list of these for a file of \
several jobs. Read again, it is the same job. Findings go to standard error.

Exit code: 0 printed, 1 the file is not valid or there is no such job.")]
pub struct InspectArguments {
    /// A job file, `-` for standard input, or a job's ID, which the agent is asked for
    target: String,
    /// Only this job of a file with several
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Print a job file in HCL
    #[arg(long, group = "form")]
    hcl: bool,
    /// Print a job file in YAML
    #[arg(long, group = "form")]
    yaml: bool,
    /// Print the hash of the canonical form, which is the identity of a version
    #[arg(long, group = "form")]
    hash: bool,
    /// Say for each value where it came from; with -verbose for defaults, too
    #[arg(long, group = "form")]
    explain: bool,
    #[command(flatten)]
    inputs: InputArguments,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &InspectArguments) -> Result<ExitCode, Failure> {
    let target = Path::new(&arguments.target);
    if arguments.target != "-" && !target.exists() && !looks_like_path(&arguments.target) {
        return of_agent(arguments);
    }
    let inputs = Inputs { explain: arguments.explain, ..arguments.inputs.inputs()? };
    let Some(mut parsed) = read(target, &inputs)? else { return Ok(ExitCode::FAILURE) };
    if let Some(wanted) = &arguments.job {
        parsed.jobs.retain(|job| job.id.as_str() == wanted);
        parsed.explained.retain(|found| found.job == *wanted);
        if parsed.jobs.is_empty() {
            return Err(
                anyhow::anyhow!("there is no job `{wanted}` in {}", arguments.target).into()
            );
        }
    }
    if arguments.explain {
        explain::show(&parsed, &arguments.connection)?;
        return Ok(ExitCode::SUCCESS);
    }
    let jobs: Vec<&Job> = parsed.jobs.iter().collect();
    let documents: Vec<_> = jobs.iter().map(|job| JobDocument::new(job)).collect();
    let identities: Vec<_> = jobs.iter().map(|job| job.spec_hash()).collect();
    show(arguments, &jobs, &identities, &documents)
}

fn of_agent(arguments: &InspectArguments) -> Result<ExitCode, Failure> {
    let id = &arguments.target;
    if arguments.explain {
        let message = format!("there is no file {id}; where values came from is seen in files");
        return Err(anyhow::anyhow!(message).into());
    }
    let view = match arguments.connection.client()?.job(id) {
        Err(error) if error.is_not_found() => {
            let message = format!("there is no file {id}, and the agent has no job of this name");
            return Err(anyhow::anyhow!(message).into());
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            return Err(error
                .context(format!("there is no file {id}; asking the agent for a job"))
                .into());
        }
        Ok(found) => found.into_value(),
    };
    // An agent hides what may be secret in a job, and says which job it is.
    let identity = view.spec_hash.clone();
    show(arguments, &[&view.job], &[identity], &[JobDocument::of_view(&view)])
}

fn show(
    arguments: &InspectArguments,
    jobs: &[&Job],
    identities: &[SpecHash],
    documents: &[JobDocument<'_>],
) -> Result<ExitCode, Failure> {
    if arguments.connection.json() && (arguments.hash || arguments.hcl || arguments.yaml) {
        let of = |(job, identity): (&&Job, &SpecHash)| {
            let text = if arguments.hash {
                identity.to_string()
            } else {
                jobfile::print(job, if arguments.yaml { Form::Yaml } else { Form::Hcl })
            };
            let key = if arguments.hash { "Hash" } else { "Text" };
            serde_json::json!({ "JobID": job.id, key: text })
        };
        crate::output::json(&jobs.iter().zip(identities).map(of).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = if arguments.hash {
        hashes(jobs, identities)
    } else if arguments.hcl {
        joined(jobs, Form::Hcl)
    } else if arguments.yaml {
        joined(jobs, Form::Yaml)
    } else {
        let text = match documents {
            [only] => serde_json::to_string_pretty(only),
            several => serde_json::to_string_pretty(several),
        };
        text? + "\n"
    };
    write(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn hashes(jobs: &[&Job], identities: &[SpecHash]) -> String {
    match identities {
        [only] => format!("{only}\n"),
        several => {
            let lines = several.iter().zip(jobs);
            lines.map(|(identity, job)| format!("{identity}  {}\n", job.id)).collect()
        }
    }
}

/// Several jobs as one file.
pub(crate) fn joined(jobs: &[&Job], form: Form) -> String {
    let texts: Vec<String> = jobs.iter().map(|job| jobfile::print(job, form)).collect();
    texts.join(if form == Form::Yaml { "---\n" } else { "\n" })
}

fn looks_like_path(text: &str) -> bool {
    text.contains('/') || jobfile::is_job_file_name(text) || text.ends_with(".json")
}

/// Reads a job file as it lies in its repository. What is found is printed; nothing comes back where it is an error.
pub(crate) fn read(path: &Path, inputs: &Inputs) -> Result<Option<Parsed>, Failure> {
    let (name, bytes, parsed) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let stdin = std::io::stdin().take(LIMIT);
        { stdin }.read_to_end(&mut bytes).context("reading standard input")?;
        let parsed = jobfile::parse(Source { path: "stdin", bytes: &bytes }, inputs);
        ("stdin".to_owned(), bytes, parsed)
    } else {
        in_repository(path, inputs)?
    };
    let text = String::from_utf8_lossy(&bytes);
    for diagnostic in parsed.diagnostics.iter().filter(|found| found.is_error()) {
        let own = (diagnostic.path == name).then_some(text.as_ref());
        anstream::eprintln!("{}\n", jobfile::render(diagnostic, own, true));
    }
    Ok((!parsed.has_errors()).then_some(parsed))
}

fn in_repository(path: &Path, inputs: &Inputs) -> anyhow::Result<(String, Vec<u8>, Parsed)> {
    if path.is_dir() {
        anyhow::bail!("{} is a folder; name one job file", path.display());
    }
    let (repository, name) = Repository::around(path)?;
    let (_, bytes) = repository
        .job_files(&name)?
        .pop_first()
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let vars: VarsFiles = repository.read_vars(&repository.vars_files(&name)?);
    let around = Surroundings { files: &repository, vars: &vars };
    let parsed = jobfile::parse_in(Source { path: &name, bytes: &bytes }, inputs, around);
    Ok((name, bytes, parsed))
}

/// Where a converted file goes.
pub(crate) fn write_file(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    // Never over somebody's work.
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    if opened.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
        anyhow::bail!("{} is there already, and nothing is written over it", path.display());
    }
    opened
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_files() {
        for file in ["./web", "jobs/web.hcl", "web.nomad", "web.json", "web.yaml"] {
            assert!(looks_like_path(file), "{file}");
        }
        for id in ["web", "my-job.v2"] {
            assert!(!looks_like_path(id), "{id}");
        }
    }

    #[test]
    fn several_jobs_are_one_file_again() {
        let text = "job \"a\" {\n  group \"g\" {\n    task \"t\" {\n      driver = \"raw_exec\"\n\n      \
                    config {\n        command = \"x\"\n      }\n    }\n  }\n}\n";
        let both = format!("{text}\n{}", text.replace("\"a\"", "\"b\""));
        let read = |path: &str, text: &str| {
            let parsed =
                jobfile::parse(Source { path, bytes: text.as_bytes() }, &Inputs::default());
            assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
            parsed.jobs
        };
        let jobs = read("a.hcl", &both);
        let all: Vec<&Job> = jobs.iter().collect();
        assert_eq!(joined(&all, Form::Hcl), both);
        assert_eq!(read("a.yaml", &joined(&all, Form::Yaml)), jobs);
        let identities: Vec<_> = all.iter().map(|job| job.spec_hash()).collect();
        let lines = hashes(&all, &identities);
        assert!(
            lines.lines().all(|line| line.len() == 64 + 3) && lines.ends_with("  b\n"),
            "{lines}"
        );
        assert_eq!(hashes(&all[..1], &identities[..1]).trim().len(), 64);
    }

    #[test]
    fn a_file_is_read_as_it_lies_in_its_repository() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let file = folder.path().join("web.nomad.hcl");
        let job = "variable \"n\" { type = number }\njob \"web\" {\n  group \"g\" {\n    count = var.n\n    \
                   task \"t\" {\n      driver = \"raw_exec\"\n      config { command = \"x\" }\n    }\n  }\n}\n";
        std::fs::write(&file, job).expect("writes");
        std::fs::write(folder.path().join("all.vars.hcl"), "n = 7\n").expect("writes");
        let inputs = Inputs { explain: true, ..Inputs::default() };
        let parsed = read(&file, &inputs).expect("is there").expect("is valid");
        assert_eq!(parsed.jobs[0].task_groups[0].count, 7);
        let count = parsed.explained.iter().find(|found| found.path == "group \"g\" count");
        assert_eq!(
            count.expect("is explained").from,
            "var.n ← all.vars.hcl:1:5, at web.nomad.hcl:4:13"
        );
        assert!(read(&folder.path().join("no.nomad"), &inputs).is_err());
    }
}
