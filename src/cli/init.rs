//! `herder init`: a job file to start from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jobfile::{Example, Form, Inputs, Source};
use serde::Serialize;

use crate::failure::Failure;
use crate::inspect::write_file;
use crate::output::{self, write};

/// Flags of `herder init`.
#[derive(Args, Debug)]
pub struct InitArguments {
    /// File to write, with folders that are missing, or `-` for standard output [default: example.nomad.hcl, or
    /// example.yaml]
    file: Option<PathBuf>,
    /// The least that runs a web server, without comments
    #[arg(long)]
    short: bool,
    /// In YAML
    #[arg(long)]
    yaml: bool,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    path: String,
}

pub(crate) fn run(arguments: &InitArguments) -> Result<ExitCode, Failure> {
    let example = jobfile::example(which(arguments));
    let file = match &arguments.file {
        Some(file) if file == Path::new("-") => {
            write(example)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(file) => file.clone(),
        None if arguments.yaml => PathBuf::from("example.yaml"),
        None => PathBuf::from("example.nomad.hcl"),
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if !jobfile::is_job_file_name(&name) {
        return Err(anyhow::anyhow!(
            "{} would not be read: the name of a job file ends in .nomad.hcl, .nomad, .hcl, .yaml, .yml or .nomad.json",
            file.display()
        )
        .into());
    }
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
    }
    if name.ends_with(".json") {
        write_file(&file, &as_json(&name, example))?;
    } else {
        write_file(&file, example)?;
    }
    if arguments.json {
        output::json(&Written { path: file.display().to_string() })?;
    }
    anstream::eprintln!("wrote {}; look at it with `herder validate {0}`", file.display());
    Ok(ExitCode::SUCCESS)
}

/// The example as Nomad's API has it.
fn as_json(name: &str, example: &str) -> String {
    let source = Source { path: name, bytes: example.as_bytes() };
    let jobs = jobfile::parse(source, &Inputs::default()).jobs;
    jobs.iter().map(|job| jobfile::print(job, Form::ApiJson)).collect()
}

fn which(arguments: &InitArguments) -> Example {
    let ending = arguments.file.as_ref().and_then(|file| file.extension());
    let is_yaml = arguments.yaml || ending.is_some_and(|end| end == "yaml" || end == "yml");
    match (is_yaml, arguments.short) {
        (true, true) => Example::ShortYaml,
        (true, false) => Example::FullYaml,
        (false, true) => Example::Short,
        (false, false) => Example::Full,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        init: InitArguments,
    }

    fn of(line: &[&str]) -> InitArguments {
        Line::parse_from(["init"].iter().chain(line)).init
    }

    #[test]
    fn the_language_follows_from_flag_and_name() {
        assert_eq!(which(&of(&[])), Example::Full);
        assert_eq!(which(&of(&["--short"])), Example::Short);
        assert_eq!(which(&of(&["--yaml"])), Example::FullYaml);
        assert_eq!(which(&of(&["x.yml", "--short"])), Example::ShortYaml);
    }

    #[test]
    fn json_is_an_example_too() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let file = folder.path().join("web.nomad.json");
        run(&of(&[&file.to_string_lossy(), "--short"])).expect("writes");
        let bytes = std::fs::read(&file).expect("reads");
        let parsed =
            jobfile::parse(Source { path: "web.nomad.json", bytes: &bytes }, &Inputs::default());
        assert_eq!((parsed.jobs.len(), parsed.diagnostics.len()), (1, 0));
    }

    #[test]
    fn nothing_is_written_that_would_not_be_read() {
        let folder = tempfile::tempdir().expect("makes a folder");
        for name in ["web", "web.json", "web.txt"] {
            let file = folder.path().join(name);
            run(&of(&[&file.to_string_lossy()])).expect_err("is no job file");
            assert!(!file.exists(), "{name}");
        }
    }

    #[test]
    fn nobodys_work_is_written_over() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let file = folder.path().join("jobs/shop/web.yaml");
        let path = file.to_string_lossy().into_owned();
        run(&of(&[&path])).expect("writes");
        let written = std::fs::read_to_string(&file).expect("reads");
        assert_eq!(written, jobfile::example(Example::FullYaml));
        run(&of(&[&path, "--short"])).expect_err("is there already");
        assert_eq!(std::fs::read_to_string(&file).expect("reads"), written);
    }
}
