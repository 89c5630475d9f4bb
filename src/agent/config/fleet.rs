//! How the agent belongs to a fleet: where others reach it, whom it joins, and what it may be asked to do.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::NodeRole;

use super::file::File;
use super::settings::duration;
use crate::arguments::AgentArguments;

/// The port that agents talk to each other on.
pub(crate) const RPC_PORT: u16 = 4647;
/// The fewest and the most heartbeats' worth of silence that may be waited for.
const LOST_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Everything that has to do with other agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FleetSettings {
    pub(crate) role: NodeRole,
    pub(crate) beginning: Beginning,
    /// Where the agent listens for the others.
    pub(crate) rpc: SocketAddr,
    /// The address that the others are told; the one that reaches out by default.
    pub(crate) advertise: Option<IpAddr>,
    /// How many servers vote, once there are that many.
    pub(crate) voters: usize,
    /// A node that is silent for this long is lost.
    pub(crate) lost_after: Duration,
    /// The organisation's own certificates instead of the cluster's.
    pub(crate) tls: Option<OwnCertificates>,
}

/// What an agent does with a data directory that belongs to no cluster yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Stays alone, and listens for nobody.
    Alone,
    /// Founds a cluster.
    Found,
    /// Joins one, at any of these addresses.
    Join { servers: Vec<String>, token: TokenSource },
    /// Refuses to start: a second cluster founded by mistake would deploy everything twice.
    Ask,
}

/// Where the join token comes from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// It was given as it is.
    Text(String),
    /// It lies in a file.
    File(PathBuf),
    /// None was given; the agent has joined before, or has certificates of its own.
    None,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::None => f.write_str("None"),
        }
    }
}

/// Files with certificates that somebody else issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnCertificates {
    pub(crate) ca_file: PathBuf,
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// The region that they must be for.
    pub(crate) region: String,
}

/// Puts file and flags together; flags win.
pub(super) fn settings(
    arguments: &AgentArguments,
    file: &File,
    bind: IpAddr,
) -> anyhow::Result<FleetSettings> {
    let role = match arguments.role.as_deref().or(file.role.as_deref()) {
        None | Some("auto") => NodeRole::Auto,
        Some("server") => NodeRole::Server,
        Some("worker") => NodeRole::Worker,
        Some(other) => bail!("role is `{other}`; write \"auto\", \"server\" or \"worker\""),
    };
    let voters = file.server.voters.unwrap_or(3);
    if !matches!(voters, 1 | 3 | 5 | 7) {
        bail!("server: voters is {voters}; write 3 or 5 (an even number adds no safety)");
    }
    let lost_after = duration("server: lost_after", file.server.lost_after.as_deref())?
        .unwrap_or(Duration::from_secs(2));
    if lost_after < LOST_AFTER.0 || lost_after > LOST_AFTER.1 {
        bail!("server: lost_after must be between 1s and 1h");
    }
    let port = arguments.rpc_port.or(file.ports.rpc).unwrap_or(RPC_PORT);
    Ok(FleetSettings {
        role,
        beginning: beginning(arguments, file)?,
        rpc: SocketAddr::new(bind, port),
        advertise: arguments.advertise.or(file.advertise_addr),
        voters,
        lost_after,
        tls: own_certificates(file)?,
    })
}

fn beginning(arguments: &AgentArguments, file: &File) -> anyhow::Result<Beginning> {
    let servers: Vec<String> = if arguments.join.is_empty() { &file.join } else { &arguments.join }
        .iter()
        .map(|server| with_port(server))
        .collect::<anyhow::Result<_>>()?;
    match (arguments.bootstrap, servers.is_empty()) {
        (true, false) => {
            bail!("--bootstrap founds a new cluster and --join goes to one that is there; keep one")
        }
        (true, true) => Ok(Beginning::Found),
        (false, false) => {
            let given = arguments.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
            let token = match (given, arguments.token_file.as_ref().or(file.token_file.as_ref())) {
                (Some(token), _) => TokenSource::Text(token.to_owned()),
                (None, Some(path)) => TokenSource::File(path.clone()),
                (None, None) => TokenSource::None,
            };
            Ok(Beginning::Join { servers, token })
        }
        (false, true) if arguments.dev => Ok(Beginning::Alone),
        (false, true) => Ok(Beginning::Ask),
    }
}

/// `host`, `host:port`, `[v6]:port` or a bare IPv6 address; with a port.
fn with_port(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, RPC_PORT).to_string());
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "4647"));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || !host.chars().all(is_name) || port.parse::<u16>().is_err() {
        bail!("join: `{text}` is not an address; write HOST or HOST:4647");
    }
    Ok(format!("{host}:{port}"))
}

fn own_certificates(file: &File) -> anyhow::Result<Option<OwnCertificates>> {
    let tls = &file.tls;
    match (&tls.ca_file, &tls.cert_file, &tls.key_file) {
        (None, None, None) if tls.region.is_some() => {
            bail!("tls: `region` goes with ca_file, cert_file and key_file")
        }
        (None, None, None) => Ok(None),
        (Some(ca_file), Some(cert_file), Some(key_file)) => Ok(Some(OwnCertificates {
            ca_file: ca_file.clone(),
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
            region: region(tls.region.as_deref())?,
        })),
        _ => bail!("tls: ca_file, cert_file and key_file go together; one is missing"),
    }
}

fn region(said: Option<&str>) -> anyhow::Result<String> {
    let region = said.unwrap_or("global");
    if !identity::is_region(region) {
        bail!("tls: region is `{region}`; it has lower-case letters, digits, `-` and `_`");
    }
    Ok(region.to_owned())
}

impl TokenSource {
    /// The token's text; an error in words where it cannot be had.
    pub(crate) fn read(&self) -> anyhow::Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the join token in {}", path.display()))?;
                Ok(text.trim().to_owned())
            }
            Self::None => bail!(
                "joining a cluster takes a token: run `herder token join` on a server and give it \
                 with --token-file, --token or HERDER_JOIN_TOKEN"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &AgentArguments, text: &str) -> anyhow::Result<FleetSettings> {
        let file = File::parse(text, false).expect("a configuration");
        settings(arguments, &file, IpAddr::from([127, 0, 0, 2]))
    }

    #[test]
    fn nothing_founds_a_cluster_by_mistake() {
        let given = |arguments: AgentArguments| read(&arguments, "").map(|read| read.beginning);
        let none = AgentArguments::default();
        assert_eq!(given(none.clone()).expect("read"), Beginning::Ask);
        let dev = AgentArguments { dev: true, ..none.clone() };
        assert_eq!(given(dev).expect("read"), Beginning::Alone);
        let found = AgentArguments { bootstrap: true, ..none };
        assert_eq!(given(found.clone()).expect("read"), Beginning::Found);
        let both = AgentArguments { join: vec!["a".to_owned()], ..found };
        assert!(given(both).is_err());
    }

    #[test]
    fn addresses_get_the_port_that_agents_use() {
        for (text, address) in [
            ("db1", "db1:4647"),
            ("db1.example.org:5000", "db1.example.org:5000"),
            ("10.0.0.1", "10.0.0.1:4647"),
            ("[fd00::1]:99", "[fd00::1]:99"),
            ("fd00::1", "[fd00::1]:4647"),
        ] {
            assert_eq!(with_port(text).expect("an address"), address);
        }
        for wrong in ["", "a:b", "http://a", "a b"] {
            assert!(with_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let arguments = AgentArguments {
            join: vec!["a".to_owned()],
            token: Some(" secret ".to_owned()),
            ..AgentArguments::default()
        };
        let read = read(&arguments, "").expect("read");
        assert!(!format!("{read:?}").contains("secret"));
        let Beginning::Join { token, .. } = read.beginning else { panic!("it joins") };
        assert_eq!(token.read().expect("there"), "secret");
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let none = AgentArguments::default();
        for wrong in [
            "role = \"boss\"",
            "server { voters = 4 }",
            "server { lost_after = \"10ms\" }",
            "tls { ca_file = \"/a\" }",
            "tls { region = \"eu\" }",
            "tls {\n ca_file = \"/a\"\n cert_file = \"/b\"\n key_file = \"/c\"\n region = \"a.b\"\n}",
        ] {
            assert!(read(&none, wrong).is_err(), "{wrong}");
        }
        let read = read(&none, "role = \"worker\"\nserver { voters = 5 }\nports { rpc = 9 }")
            .expect("read");
        assert_eq!((read.role, read.voters, read.rpc.port()), (NodeRole::Worker, 5, 9));
    }
}
