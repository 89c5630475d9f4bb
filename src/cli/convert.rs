//! `herder job convert`: a job file in another language.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jobfile::Form;
use model::Job;
use model::wire::JobDocument;
use serde::Serialize;

use crate::failure::Failure;
use crate::inputs::InputArguments;
use crate::inspect::{joined, read, write_file};
use crate::output::{self, write};

/// Flags of `herder job convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
Any language goes into any other: HCL, HCL's JSON form, YAML and Nomad's API JSON. \
The meaning stays: both files have the same canonical form. \
Comments are lost, values stand where variables and locals stood, and what only spells out a default is left out.

Exit code: 0 converted, 1 the file is not valid.")]
pub struct ConvertArguments {
    /// A job file, or `-` for standard input
    file: PathBuf,
    /// The language to write [default: that of the output file's name; else YAML for HCL, and HCL for all others]
    #[arg(long, value_enum)]
    to: Option<To>,
    /// File to write; it must not be there yet
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArguments,
    /// Print what was done as JSON, with the text
    #[arg(long)]
    json: bool,
}

/// A language of job files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// Nomad's own
    Hcl,
    /// The same names in YAML
    Yaml,
    /// What Nomad's API takes, with every default
    Json,
}

/// What was done.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Converted<'a> {
    to: &'static str,
    jobs: Vec<&'a str>,
    output: Option<String>,
    text: String,
    lost_comments: bool,
    resolved_variables: bool,
}

pub(crate) fn run(arguments: &ConvertArguments) -> Result<ExitCode, Failure> {
    let inputs = arguments.inputs.inputs()?;
    let Some(parsed) = read(&arguments.file, &inputs)? else { return Ok(ExitCode::FAILURE) };
    let to = arguments.to.unwrap_or_else(|| language(&arguments.file, arguments.output.as_deref()));
    let jobs: Vec<&Job> = parsed.jobs.iter().collect();
    let text = written(&jobs, to)?;
    if let Some(file) = &arguments.output {
        write_file(file, &text)?;
    }
    let is_yaml_or_hcl = !is(&arguments.file, &["json"]);
    let resolved = !parsed.variables.is_empty();
    if arguments.json {
        output::json(&Converted {
            to: to.name(),
            jobs: jobs.iter().map(|job| job.id.as_str()).collect(),
            output: arguments.output.as_ref().map(|file| file.display().to_string()),
            text,
            lost_comments: is_yaml_or_hcl,
            resolved_variables: resolved,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    match &arguments.output {
        Some(file) => anstream::eprintln!("wrote {}", file.display()),
        None => write(&text)?,
    }
    if is_yaml_or_hcl {
        anstream::eprintln!("note: comments are not converted");
    }
    if resolved {
        let names: Vec<&str> = parsed.variables.iter().map(|found| found.name.as_str()).collect();
        anstream::eprintln!(
            "note: values stand where variables stood: {}; see where from with \
             `herder job inspect --explain {}`",
            names.join(", "),
            arguments.file.display()
        );
        let secret = parsed.variables.iter().filter(|found| found.sensitive);
        let secret: Vec<&str> = secret.map(|found| found.name.as_str()).collect();
        if !secret.is_empty() {
            let names = secret.join(", ");
            anstream::eprintln!(
                "warning: what was written holds values that are sensitive: {names}"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl To {
    const fn name(self) -> &'static str {
        match self {
            Self::Hcl => "hcl",
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }
}

fn written(jobs: &[&Job], to: To) -> anyhow::Result<String> {
    Ok(match to {
        To::Hcl => joined(jobs, Form::Hcl),
        To::Yaml => joined(jobs, Form::Yaml),
        To::Json => match jobs {
            [only] => jobfile::print(only, Form::ApiJson),
            several => {
                let all: Vec<_> = several.iter().map(|job| JobDocument::new(job)).collect();
                serde_json::to_string_pretty(&all)? + "\n"
            }
        },
    })
}

fn language(file: &Path, output: Option<&Path>) -> To {
    match output {
        Some(output) if is(output, &["yaml", "yml"]) => To::Yaml,
        Some(output) if is(output, &["json"]) => To::Json,
        Some(_) => To::Hcl,
        None if is(file, &["hcl", "nomad"]) => To::Yaml,
        None => To::Hcl,
    }
}

fn is(file: &Path, endings: &[&str]) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_from_names() {
        let of =
            |file: &str, output: Option<&str>| language(Path::new(file), output.map(Path::new));
        assert_eq!(of("a.nomad.hcl", None), To::Yaml);
        assert_eq!(of("a.nomad", None), To::Yaml);
        assert_eq!(of("a.yaml", None), To::Hcl);
        assert_eq!(of("-", None), To::Hcl);
        assert_eq!(of("a.yaml", Some("b.json")), To::Json);
        assert_eq!(of("a.hcl", Some("b.yml")), To::Yaml);
        assert_eq!(of("a.json", Some("b.nomad.hcl")), To::Hcl);
    }

    #[test]
    fn every_language_reads_back() {
        let text = jobfile::example(jobfile::Example::Full);
        let read = |path: &str, text: &str| {
            let source = jobfile::Source { path, bytes: text.as_bytes() };
            jobfile::parse(source, &jobfile::Inputs::default()).jobs
        };
        let jobs = read("a.nomad.hcl", text);
        let all: Vec<&Job> = jobs.iter().collect();
        for (to, name) in [(To::Hcl, "a.hcl"), (To::Yaml, "a.yaml"), (To::Json, "a.nomad")] {
            let text = written(&all, to).expect("is written");
            assert_eq!(read(name, &text), jobs, "{text}");
        }
    }
}
