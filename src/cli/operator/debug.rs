//! `herder operator debug`: a bundle for whoever looks for what is wrong.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::Timestamp;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// What is asked for, and under which name it is kept. Lists alone: what jobs say in full may hold secrets.
const ASKED: [(&str, &str); 16] = [
    ("agent-self.json", "/agent/self?pretty"),
    ("agent-health.json", "/agent/health?pretty"),
    ("agent-loops.json", "/agent/loops?pretty"),
    ("members.json", "/agent/members?pretty"),
    ("raft.json", "/operator/raft/configuration?pretty"),
    ("leader.json", "/status/leader"),
    ("lost-nodes.json", "/operator/lost-nodes?pretty"),
    ("nodes.json", "/nodes?pretty&resources=true"),
    ("jobs.json", "/jobs?pretty"),
    ("allocations.json", "/allocations?pretty"),
    ("deployments.json", "/deployments?pretty"),
    ("evaluations.json", "/evaluations?pretty"),
    ("services.json", "/services?pretty"),
    ("gitops-status.json", "/gitops/status?pretty"),
    ("gitops-revisions.json", "/gitops/revisions?pretty"),
    ("metrics.txt", "/metrics?format=prometheus"),
];

/// How much of the end of a log is taken.
const LOG_TAIL: u64 = 1 << 20;

/// Flags of `herder operator debug`.
#[derive(Args, Debug)]
pub struct DebugArguments {
    /// Where to; a file that is there is not overwritten [default: herder-debug-TIME.tar.gz]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A file that the agent's log goes to; its last mebibyte is taken in
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &DebugArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let path = arguments.output.clone().unwrap_or_else(|| usual_name(output::now()));
    let mut files = Vec::new();
    let mut missing = Vec::new();
    for (name, from) in ASKED {
        match client.raw(from) {
            Ok(text) => files.push((name.to_owned(), text.into_bytes())),
            // An agent that is half dead is what bundles are made for.
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    if files.is_empty() {
        return Err(anyhow::anyhow!(
            "the agent answers nothing: {}",
            missing.first().map_or("", String::as_str)
        )
        .into());
    }
    if let Some(log) = &arguments.log_file {
        let tail = tail(log).with_context(|| format!("reading {}", log.display()))?;
        files.push(("agent.log".to_owned(), tail));
    }
    if !missing.is_empty() {
        files.push(("missing.txt".to_owned(), missing.join("\n").into_bytes()));
    }
    files.push(("cli-version.txt".to_owned(), env!("CARGO_PKG_VERSION").into()));
    write(&path, &files).with_context(|| format!("writing {}", path.display()))?;
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let value = serde_json::json!({ "File": path, "Contents": names, "Missing": missing });
    connection.show(&value, || {
        for words in &missing {
            anstream::eprintln!("not in it: {words}");
        }
        anstream::println!("{}", path.display());
    })
}

fn usual_name(now: Timestamp) -> PathBuf {
    let time = output::date(now).replace([':', '+'], "-");
    PathBuf::from(format!("herder-debug-{time}.tar.gz"))
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes the bundle, for its owner's eyes.
fn write(path: &Path, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        archive.append_data(&mut header, format!("herder-debug/{name}"), bytes.as_slice())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_an_archive_and_overwrites_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("bundle.tar.gz");
        let files = [("a.json".to_owned(), b"{}".to_vec()), ("b".to_owned(), Vec::new())];
        write(&path, &files).expect("written");
        let file = fs::File::open(&path).expect("there");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let names: Vec<String> = archive
            .entries()
            .expect("an archive")
            .map(|entry| entry.expect("an entry").path().expect("a name").display().to_string())
            .collect();
        assert_eq!(names, ["herder-debug/a.json", "herder-debug/b"]);
        assert!(write(&path, &files).is_err(), "it is there already");
    }

    #[test]
    fn of_a_long_log_the_end_is_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let long = [vec![b'x'; LOG_TAIL as usize], b"the end".to_vec()].concat();
        fs::write(&path, long).expect("written");
        let tail = tail(&path).expect("read");
        assert!(tail.len() as u64 == LOG_TAIL && tail.ends_with(b"the end"));
    }
}
