//! `herder tls …`: an authority of one's own, by hand and without an agent.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use identity::{Authority, Bearer, Clock, Leaf, NodeKey, Role, SecretText, is_region};
use model::NodeId;
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// The largest file that is read.
const LIMIT: u64 = 64 * 1024;
/// The longest that a certificate is made for: what comes later no certificate can say.
const MOST_DAYS: u64 = 36_500;
/// How many certificates of one kind may lie in one folder.
const MOST_FILES: u32 = 10_000;

/// `herder tls …`.
#[derive(Subcommand, Debug)]
pub enum TlsCommand {
    /// An authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// Certificates that it signs
    #[command(subcommand)]
    Cert(CertCommand),
}

/// `herder tls ca …`.
#[derive(Subcommand, Debug)]
pub enum CaCommand {
    /// Make an authority: herder-ca.pem for everybody, and herder-ca-key.pem for whoever signs
    Create(CaArguments),
}

/// `herder tls cert …`.
#[derive(Subcommand, Debug)]
pub enum CertCommand {
    /// Make a key and a certificate for an agent or a person
    Create(CertArguments),
}

/// Flags of `herder tls ca create`.
#[derive(Args, Debug)]
pub struct CaArguments {
    /// For how many days it is good
    #[arg(long, default_value_t = 1825)]
    days: u64,
    /// Its name, for people
    #[arg(long, alias = "common-name", default_value = "Herder authority")]
    name: String,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Flags of `herder tls cert create`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("bearer").required(true))]
pub struct CertArguments {
    /// For an agent that may vote
    #[arg(long, group = "bearer")]
    server: bool,
    /// For an agent that never votes
    #[arg(long, group = "bearer", visible_alias = "client")]
    worker: bool,
    /// For a person, who shows it over HTTP
    #[arg(long, group = "bearer")]
    cli: bool,
    /// The node that the agent is; it may then change its key [default: the one that follows from the key]
    #[arg(long, value_name = "ID", conflicts_with = "cli")]
    node_id: Option<NodeId>,
    /// The region, as in `tls { region }` of the agents
    #[arg(long, default_value = "global")]
    region: String,
    /// A DNS name under which the agent is reached over HTTP; may be given several times
    #[arg(long, value_name = "NAME")]
    additional_dnsname: Vec<String>,
    /// An address, likewise
    #[arg(long, value_name = "ADDRESS")]
    additional_ipaddress: Vec<IpAddr>,
    /// The authority's certificate
    #[arg(long, value_name = "FILE", default_value = "herder-ca.pem")]
    ca: PathBuf,
    /// The authority's key
    #[arg(long, value_name = "FILE", default_value = "herder-ca-key.pem")]
    key: PathBuf,
    /// For how many days it is good, and no longer than the authority
    #[arg(long, default_value_t = 365)]
    days: u64,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    certificate: String,
    key: String,
}

pub(crate) fn run(command: &TlsCommand) -> Result<ExitCode, Failure> {
    let folder = Path::new("");
    let (written, json) = match command {
        TlsCommand::Ca(CaCommand::Create(arguments)) => {
            (authority(arguments, folder)?, arguments.json)
        }
        TlsCommand::Cert(CertCommand::Create(arguments)) => {
            (certificate(arguments, folder)?, arguments.json)
        }
    };
    if json {
        output::json(&written)?;
    } else {
        anstream::println!("{}\n{}", written.certificate, written.key);
    }
    Ok(ExitCode::SUCCESS)
}

fn authority(arguments: &CaArguments, folder: &Path) -> anyhow::Result<Written> {
    let made =
        Authority::create_named(&arguments.name, Clock::system().now(), days(arguments.days)?)?;
    let files = [folder.join("herder-ca.pem"), folder.join("herder-ca-key.pem")];
    if let Some(there) = files.iter().find(|file| file.symlink_metadata().is_ok()) {
        bail!("{} is there already; an authority is not overwritten", there.display());
    }
    let [certificate, key] = files;
    write_pair(&certificate, &made.certificate_pem(), &key, &made.key_pem())
}

fn certificate(arguments: &CertArguments, folder: &Path) -> anyhow::Result<Written> {
    if !is_region(&arguments.region) {
        bail!(
            "`-region {}`: a region has lower-case letters, digits, `-` and `_`",
            arguments.region
        );
    }
    let certificate = text(&arguments.ca)?;
    let signer = Authority::from_pem(&certificate, &SecretText::new(text(&arguments.key)?))
        .with_context(|| format!("{} and {}", arguments.ca.display(), arguments.key.display()))?;
    let (bearer, kind) = match (arguments.server, arguments.worker) {
        (true, _) => (Bearer::Agent { role: Role::Server, node: arguments.node_id }, "server"),
        (_, true) => (Bearer::Agent { role: Role::Worker, node: arguments.node_id }, "worker"),
        _ => (Bearer::Person, "cli"),
    };
    let mut names = arguments.additional_dnsname.clone();
    let mut addresses = arguments.additional_ipaddress.clone();
    if bearer != Bearer::Person {
        // Whoever asks on the agent's own machine.
        names.push("localhost".to_owned());
        addresses.push(IpAddr::from([127, 0, 0, 1]));
        addresses.push(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
    }
    let leaf = Leaf { bearer, region: arguments.region.clone(), names, addresses };
    let key = NodeKey::generate()?;
    let made = signer.issue_leaf(&key, &leaf, Clock::system().now(), days(arguments.days)?)?;
    let base = format!("{}-{kind}-herder", arguments.region);
    for number in 0..MOST_FILES {
        let certificate = folder.join(format!("{base}-{number}.pem"));
        let key_file = folder.join(format!("{base}-{number}-key.pem"));
        let taken = |file: &Path| file.symlink_metadata().is_ok();
        if !taken(&certificate) && !taken(&key_file) {
            return write_pair(&certificate, &made, &key_file, &key.to_pem());
        }
    }
    bail!(
        "there are {MOST_FILES} certificates `{base}-…` here already; make more in another folder"
    )
}

fn days(days: u64) -> anyhow::Result<Duration> {
    if !(1..=MOST_DAYS).contains(&days) {
        bail!("`-days {days}`: a certificate is good for 1 to {MOST_DAYS} days");
    }
    Ok(Duration::from_secs(days * 24 * 3600))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let reading =
        || format!("reading {} (`herder tls ca create` makes an authority)", path.display());
    let size = fs::metadata(path).with_context(reading)?.len();
    if size > LIMIT {
        bail!("{} has {size} bytes; no certificate and no key is that long", path.display());
    }
    fs::read_to_string(path).with_context(reading)
}

/// Writes both files or none; neither is there before.
fn write_pair(
    certificate: &Path,
    certificate_text: &str,
    key: &Path,
    key_text: &SecretText,
) -> anyhow::Result<Written> {
    write_new(key, key_text.reveal(), 0o600)?;
    if let Err(error) = write_new(certificate, certificate_text, 0o644) {
        // A key without its certificate is good for nothing.
        let _ = fs::remove_file(key);
        return Err(error);
    }
    Ok(Written { certificate: certificate.display().to_string(), key: key.display().to_string() })
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(writing)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.with_context(writing)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use identity::Peer;

    use super::*;

    fn ca(folder: &Path) -> anyhow::Result<Written> {
        let arguments = CaArguments { days: 30, name: "Acme".to_owned(), json: false };
        authority(&arguments, folder)
    }

    fn asked(folder: &Path) -> CertArguments {
        CertArguments {
            server: false,
            worker: false,
            cli: false,
            node_id: None,
            region: "global".to_owned(),
            additional_dnsname: vec!["db1.example.org".to_owned()],
            additional_ipaddress: vec![IpAddr::from([10, 0, 0, 1])],
            ca: folder.join("herder-ca.pem"),
            key: folder.join("herder-ca-key.pem"),
            days: 3000,
            json: false,
        }
    }

    #[test]
    fn an_authority_is_made_once_and_its_key_is_its_owners() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = ca(dir.path()).expect("made");
        let mode = |path: &str| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&made.key), 0o600);
        let before = fs::read(&made.key).expect("read");
        let error = ca(dir.path()).map(|_| ()).expect_err("refused");
        assert!(error.to_string().contains("not overwritten"), "{error}");
        assert_eq!(fs::read(&made.key).expect("read"), before);
    }

    #[test]
    fn certificates_name_who_they_are_for() {
        let dir = tempfile::tempdir().expect("a directory");
        ca(dir.path()).expect("made");
        let node = NodeId::new(model::seeded_uuid(&[b"n"]));
        let worker = CertArguments { worker: true, node_id: Some(node), ..asked(dir.path()) };
        let first = certificate(&worker, dir.path()).expect("made");
        let second = certificate(&worker, dir.path()).expect("made");
        assert!(first.certificate.ends_with("global-worker-herder-0.pem"), "{}", first.certificate);
        assert!(second.key.ends_with("global-worker-herder-1-key.pem"), "{}", second.key);
        let peer = Peer::from_pem(&text(Path::new(&first.certificate)).expect("text"));
        let peer = peer.expect("a peer");
        assert_eq!((peer.role, peer.node), (Role::Worker, Some(node)));
        assert!(peer.names.contains(&"db1.example.org".to_owned()), "{:?}", peer.names);
        assert!(peer.addresses.contains(&IpAddr::from([10, 0, 0, 1])));
        let person = CertArguments { cli: true, ..asked(dir.path()) };
        let person = certificate(&person, dir.path()).expect("made");
        assert!(Peer::from_pem(&text(Path::new(&person.certificate)).expect("text")).is_err());
        let mode = fs::metadata(&person.key).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let server = || CertArguments { server: true, ..asked(dir.path()) };
        let error = certificate(&server(), dir.path()).map(|_| ()).expect_err("no authority");
        assert!(format!("{error:#}").contains("herder tls ca create"), "{error:#}");
        ca(dir.path()).expect("made");
        for wrong in [
            CertArguments { days: 0, ..server() },
            CertArguments { region: "a.b".to_owned(), ..server() },
            CertArguments { additional_dnsname: vec!["a b".to_owned()], ..server() },
            CertArguments { key: dir.path().join("herder-ca.pem"), ..server() },
        ] {
            assert!(certificate(&wrong, dir.path()).is_err(), "{wrong:?}");
        }
    }
}
