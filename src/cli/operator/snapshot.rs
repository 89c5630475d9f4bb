//! `herder operator snapshot …`.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use model::read_snapshot;
use model::wire::SnapshotInfo;

use super::Offline;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// The largest snapshot that is read.
const MAX_BYTES: u64 = 4 << 30;

/// `herder operator snapshot …`.
#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Keep the whole state in a file. It holds jobs with their values, allocations, nodes, revisions and hashes of join
    /// tokens; no keys, certificates or tokens
    Save(SaveArguments),
    /// Say what a file holds, and whether it is whole
    Inspect(InspectArguments),
    /// Bring a state back into a data directory without a log. No agent may run on it
    Restore(RestoreArguments),
}

/// Flags of `herder operator snapshot save`.
#[derive(Args, Debug)]
pub struct SaveArguments {
    /// Where to; a file that is there is not overwritten
    file: PathBuf,
    /// The agent's data directory, on this machine: its `owner.key` shows that you may read everything
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder operator snapshot inspect`.
#[derive(Args, Debug)]
pub struct InspectArguments {
    /// The file
    file: PathBuf,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Flags of `herder operator snapshot restore`.
#[derive(Args, Debug)]
pub struct RestoreArguments {
    /// The file
    file: PathBuf,
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print JSON instead of words
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &SnapshotCommand, offline: &Offline) -> Result<ExitCode, Failure> {
    match command {
        SnapshotCommand::Save(arguments) => save(arguments),
        SnapshotCommand::Inspect(arguments) => {
            let file = read(&arguments.file)?;
            let (info, _) = checked(&file, &arguments.file)?;
            if arguments.json {
                output::json(&info)?;
            } else {
                show(&info, file.len());
            }
            Ok(ExitCode::SUCCESS)
        }
        SnapshotCommand::Restore(arguments) => {
            let file = read(&arguments.file)?;
            let (_, state) = checked(&file, &arguments.file)?;
            said(&(offline.restore)(&arguments.data_dir, state)?, arguments.json)
        }
    }
}

/// Prints what was done, for people or for programs.
pub(super) fn said(words: &str, json: bool) -> Result<ExitCode, Failure> {
    if json {
        output::json(&serde_json::json!({ "Done": words }))?;
    } else {
        anstream::println!("{words}");
    }
    Ok(ExitCode::SUCCESS)
}

fn save(arguments: &SaveArguments) -> Result<ExitCode, Failure> {
    let (connection, path) = (&arguments.connection, &arguments.file);
    let client = connection.client()?;
    let key = arguments.data_dir.join("owner.key");
    let key = fs::read_to_string(&key).with_context(|| format!("reading {}", key.display()))?;
    // Before the servers are troubled.
    let writing = || format!("writing {}", path.display());
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(writing)?;
    let written = (|| -> anyhow::Result<(SnapshotInfo, usize)> {
        let mut file = Vec::new();
        client
            .snapshot(key.trim())?
            .take(MAX_BYTES)
            .read_to_end(&mut file)
            .context("receiving the snapshot")?;
        // What cannot be brought back is no backup.
        let (info, _) = checked(&file, path)?;
        to.write_all(&file).and_then(|()| to.sync_all()).with_context(writing)?;
        Ok((info, file.len()))
    })();
    let (info, length) = match written {
        Ok(written) => written,
        Err(error) => {
            let _ = fs::remove_file(path);
            return Err(error.into());
        }
    };
    connection.show(&info, || {
        show(&info, length);
        anstream::eprintln!(
            "kept in {}; it holds what job files hold: keep it to yourself",
            path.display()
        );
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let reading = || format!("reading {}", path.display());
    let file = fs::File::open(path).with_context(reading)?;
    if file.metadata().with_context(reading)?.len() > MAX_BYTES {
        bail!("{} is larger than any snapshot", path.display());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).with_context(reading)?;
    Ok(bytes)
}

fn checked<'a>(file: &'a [u8], path: &Path) -> anyhow::Result<(SnapshotInfo, &'a [u8])> {
    read_snapshot(file).with_context(|| format!("{} cannot be used", path.display()))
}

fn show(info: &SnapshotInfo, length: usize) {
    output::pairs([
        ("Version", info.version.clone()),
        ("Created", output::date(info.created_at)),
        ("Cluster", info.cluster.clone()),
        ("Index", info.index.to_string()),
        ("Term", info.term.to_string()),
        ("Size", output::bytes(length as u64)),
    ]);
    output::heading("Contents");
    output::table(
        &["What", "Count"],
        info.contents.iter().map(|(what, count)| vec![what.clone(), count.to_string()]),
    );
}
