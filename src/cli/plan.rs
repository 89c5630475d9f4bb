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
use crate::validate::FILE_LIMIT;

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
            let (files, under) = working_tree(path)?;
            request.files = Some(files);
            request.under = Some(under);
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

/// The job files to send, by their path from the repository's root, and the folder or file that they are all of.
fn working_tree(path: &Path) -> anyhow::Result<(BTreeMap<String, String>, String)> {
    let path = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
    let folder = if path.is_dir() {
        path.as_path()
    } else {
        path.parent().unwrap_or_else(|| Path::new("/"))
    };
    let tree = WorkTree::open(folder).with_context(|| format!("reading {}", folder.display()))?;
    let from_root = |name: &str| Path::new(&tree.prefix).join(name).display().to_string();
    let text = |bytes: Vec<u8>| {
        // What is not text is sent with replacement characters, so that the agent's parser says what is wrong.
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if path.is_dir() {
        let files = crate::validate::job_files(folder)?;
        let files =
            files.into_iter().map(|(name, bytes)| (from_root(&name), text(bytes))).collect();
        return Ok((files, tree.prefix.clone()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (_, bytes) = tree
        .read(&name, FILE_LIMIT)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let name = from_root(&name);
    Ok((BTreeMap::from([(name.clone(), text(bytes))]), name))
}
