//! `herder plan`: exactly what a change would do. Exit code 0: nothing starts or stops; 1: something does; 255: error.

mod diff;
mod lines;
mod render;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jobfile::{Files as _, Inputs, Source, Surroundings};
use model::wire::PlanRequest;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::repository::Repository;

pub(crate) use diff::diff_lines;
pub(crate) use render::failure_lines;

/// Flags of `herder plan`.
#[derive(Args, Debug)]
#[command(after_help = "\
Without PATH the branch's head is compared with what runs. \
With PATH, the files in that folder are, committed or not.

Exit code: 0 nothing starts or stops, 1 something does, 255 error.")]
pub struct PlanArguments {
    /// A folder of a working tree, or one job file
    path: Option<PathBuf>,
    /// A commit, branch or tag that the agent's mirror holds
    #[arg(long, conflicts_with = "path")]
    rev: Option<String>,
    /// The repository, where the agent follows several
    #[arg(long)]
    repo: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &PlanArguments) -> Result<ExitCode, Failure> {
    plan(arguments).map_err(|failure| failure.with_code(255))
}

fn plan(arguments: &PlanArguments) -> Result<ExitCode, Failure> {
    let mut request = PlanRequest { repo: arguments.repo.clone(), ..PlanRequest::default() };
    match (&arguments.path, &arguments.rev) {
        (Some(path), _) => {
            working_tree(path, &mut request)?;
        }
        (None, Some(rev)) => request.rev = Some(rev.clone()),
        (None, None) => request.head = Some(true),
    }
    let texts = request.files.clone().unwrap_or_default();
    let plan = arguments.connection.client()?.plan(&request)?;
    arguments
        .connection
        .show(&plan, || render::print(&plan, &texts, arguments.connection.verbose()))?;
    let broken = plan.problems.iter().any(model::Diagnostic::is_error);
    Ok(match (broken, plan.disruptive) {
        (true, _) => ExitCode::from(255),
        (false, true) => ExitCode::from(1),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// Asks for a plan of the files to send, by their path from the repository's root. With the job files come the vars files
/// that apply to them, and what they include and read; what of it is not there is said, too.
fn working_tree(path: &Path, request: &mut PlanRequest) -> anyhow::Result<()> {
    let (repository, under) = Repository::around(path)?;
    let jobs = repository.job_files(&under)?;
    let vars_files = repository.vars_files(&under)?;
    let vars = repository.read_vars(&vars_files);
    let mut others = vars_files;
    for (path, bytes) in &jobs {
        let around = Surroundings { files: &repository, vars: &vars };
        // The agent knows the environment and its own values; what cannot be known here it reads from its mirror.
        let parsed = jobfile::parse_in(Source { path, bytes }, &Inputs::default(), around);
        others.extend(parsed.reads);
    }
    let mut files = jobs;
    for path in others.into_iter().filter(|path| !path.ends_with('/')) {
        match repository.read(&path) {
            Ok(Some(bytes)) => {
                files.insert(path, bytes);
            }
            Ok(None) => {
                request.gone.insert(path);
            }
            // What cannot be read here is for the agent to name.
            Err(_) => {}
        }
    }
    // All vars files above are among the files.
    let mut folder = under.as_str();
    while !folder.is_empty() {
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        request.gone.insert(format!("{folder}/"));
    }
    // What is not text is sent with replacement characters, so that the agent's parser says what is wrong.
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    request.files = Some(files.into_iter().map(|(path, bytes)| (path, text(bytes))).collect());
    request.under = Some(under);
    Ok(())
}
