//! Flags that give values to variables, the same for every command that reads job files here.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};

/// The largest vars file.
const LIMIT: u64 = 1 << 20;

/// Where values for variables come from.
#[derive(Args, Debug, Default)]
pub(crate) struct InputArguments {
    /// Value for a variable of the job files; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// File of values for variables; may be given several times, and a later one wins
    #[arg(long = "var-file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Environment whose vars files (NAME.ENVIRONMENT.vars.hcl) apply
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Whether a value for a variable that is not declared is an error
    #[arg(long = "hcl2-strict", value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    hcl2_strict: bool,
}

impl InputArguments {
    /// The inputs, with what the shell holds.
    ///
    /// # Errors
    /// When a flag makes no sense or a file cannot be read.
    pub(crate) fn inputs(&self) -> anyhow::Result<jobfile::Inputs> {
        if let Some(environment) = &self.environment
            && !is_environment(environment)
        {
            bail!(
                "`--env {environment}` is not the name of an environment: letters, digits, `-` and `_`"
            );
        }
        let flags = self.variables.iter().map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
            None => bail!("`--var {pair}` has no value; write --var {pair}=VALUE"),
        });
        let files = self.files.iter().map(|path| {
            let name = path.display().to_string();
            let about = std::fs::metadata(path).with_context(|| format!("vars file {name}"))?;
            if about.len() > LIMIT {
                bail!("vars file {name} has {} bytes; {LIMIT} are allowed", about.len());
            }
            Ok((name.clone(), std::fs::read(path).with_context(|| format!("vars file {name}"))?))
        });
        Ok(jobfile::Inputs {
            environment: self.environment.clone(),
            shell: crate::repository::shell(),
            files: files.collect::<anyhow::Result<_>>()?,
            flags: flags.collect::<anyhow::Result<_>>()?,
            lenient: !self.hcl2_strict,
            ..jobfile::Inputs::default()
        })
    }
}

fn is_environment(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}
