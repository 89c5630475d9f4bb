//! `herder init`: a job file to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jobfile::Example;

use crate::failure::Failure;

/// Flags of `herder init`.
#[derive(Args, Debug)]
pub struct InitArguments {
    /// File to write [default: example.nomad.hcl, or example.yaml]
    file: Option<PathBuf>,
    /// Without comments
    #[arg(long, conflicts_with = "yaml")]
    short: bool,
    /// In YAML
    #[arg(long)]
    yaml: bool,
}

pub(crate) fn run(arguments: &InitArguments) -> Result<ExitCode, Failure> {
    let yaml = arguments.yaml
        || arguments
            .file
            .as_ref()
            .is_some_and(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml"));
    let example = match (yaml, arguments.short) {
        (true, _) => Example::Yaml,
        (false, true) => Example::Short,
        (false, false) => Example::Full,
    };
    let default = if yaml { "example.yaml" } else { "example.nomad.hcl" };
    let file = arguments.file.clone().unwrap_or_else(|| PathBuf::from(default));
    // Never over somebody's work.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut opened| opened.write_all(jobfile::example(example).as_bytes()))
        .with_context(|| format!("writing {}", file.display()))?;
    anstream::eprintln!("wrote {}; look at it with `herder validate {0}`", file.display());
    Ok(ExitCode::SUCCESS)
}
