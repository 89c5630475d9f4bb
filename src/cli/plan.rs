//! `herder plan`: exactly what a change would do. Exit code 0: nothing starts or stops; 1: something does; 255: error.

mod render;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use gitrepo::WorkTree;
use model::wire::PlanRequest;

use crate::connection::Connection;
use crate::failure::Failure;

pub(crate) use render::{diff_lines, failure_lines};

/// Flags of `herder plan`.
#[derive(Args, Debug)]
#[command(after_help = "\
Without PATH the branch's head is compared with what runs. With PATH, the files in that folder are, committed or not.
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
            let (files, whole) = working_tree(path)?;
            request.files = Some(files);
            request.whole = Some(whole);
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

/// The job files to send, by their path from the repository's root, and whether they are all there are.
fn working_tree(path: &Path) -> anyhow::Result<(BTreeMap<String, String>, bool)> {
    let path = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
    let (folder, file) = if path.is_dir() {
        (path.clone(), None)
    } else {
        (path.parent().unwrap_or(Path::new("/")).to_owned(), Some(path.clone()))
    };
    let tree = WorkTree::open(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let root = tree.repository_root().map_or_else(|| folder.clone(), Path::to_owned);
    let from_root =
        |absolute: &Path| absolute.strip_prefix(&root).unwrap_or(absolute).display().to_string();
    let texts = |files: BTreeMap<String, Vec<u8>>| {
        // What is not text is sent with replacement characters, so that the agent's parser says what is wrong.
        files
            .into_iter()
            .map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned()))
            .collect()
    };
    match file {
        Some(file) => {
            let bytes = std::fs::read(&file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            Ok((texts(BTreeMap::from([(from_root(&file), bytes)])), false))
        }
        None => {
            let files = crate::validate::job_files(&folder)?;
            let files = files
                .into_iter()
                .map(|(name, bytes)| (from_root(&folder.join(name)), bytes))
                .collect();
            // A subfolder says nothing of what lies beside it.
            Ok((texts(files), folder == root))
        }
    }
}
