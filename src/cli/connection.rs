//! Which agent a command talks to, and in which form it answers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::FalseyValueParser;
use client::{Client, Tls};
use serde::Serialize;

use crate::failure::Failure;
use crate::local_agent::LocalAgent;
use crate::output;

/// The largest certificate file that is read.
const LIMIT: u64 = 1 << 20;

/// Flags of every command that asks an agent.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// Address of the agent's HTTP API [default: that of the agent on this machine, or http://127.0.0.1:4646]
    #[arg(long, env = "HERDER_ADDR", global = true, value_name = "URL")]
    address: Option<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Print IDs in full, and more detail
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(flatten)]
    tls: TlsArguments,
}

/// Flags about TLS with the agent.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
struct TlsArguments {
    /// Certificate of the authority that signed the agent's
    #[arg(long, env = "HERDER_CACERT", global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Certificate to show to the agent
    #[arg(long, env = "HERDER_CLIENT_CERT", global = true, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "HERDER_CLIENT_KEY", global = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Name that the agent's certificate must be for, if not its address
    #[arg(long, env = "HERDER_TLS_SERVER_NAME", global = true, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Believe any certificate: whoever is on the way can read and change everything
    #[arg(long, env = "HERDER_SKIP_VERIFY", global = true, value_parser = FalseyValueParser::new())]
    tls_skip_verify: bool,
}

impl Connection {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let said = self.address.as_deref().map(str::trim).filter(|address| !address.is_empty());
        let local = LocalAgent::find();
        let (address, tls) = match (said, &local) {
            (Some(said), _) => (said.to_owned(), self.tls.read(Some(said), local.as_ref())?),
            (None, Some(local)) => (local.address(), self.tls.read(None, Some(local))?),
            (None, None) => (String::new(), self.tls.read(None, None)?),
        };
        let token = std::env::var("HERDER_TOKEN").ok();
        Ok(Client::with_tls(&address, token, &tls)?)
    }

    pub(crate) fn json(&self) -> bool {
        self.json
    }

    pub(crate) fn verbose(&self) -> bool {
        self.verbose
    }

    /// An ID as a person reads it: eight digits, or all with `--verbose`.
    pub(crate) fn id(&self, id: impl std::fmt::Display) -> String {
        let id = id.to_string();
        if self.verbose { id } else { id.chars().take(8).collect() }
    }

    /// Prints `value` as JSON where that was asked for, and as `text` otherwise.
    pub(crate) fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(),
    ) -> Result<ExitCode, Failure> {
        if self.json {
            output::json(value)?;
        } else {
            text();
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl TlsArguments {
    /// What the flags say, and where they say nothing, what the agent on this machine does: for its own address (`None`),
    /// and for others of its cluster, which are known by addresses or plain host names.
    fn read(&self, address: Option<&str>, local: Option<&LocalAgent>) -> anyhow::Result<Tls> {
        let given =
            |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        let mut tls = Tls {
            server_name: self.tls_server_name.clone().filter(|name| !name.is_empty()),
            skip_verify: self.tls_skip_verify,
            ..Tls::default()
        };
        tls.shown = match (given(&self.client_cert), given(&self.client_key)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((text(&certificate)?, text(&key)?)),
            _ => bail!("-client-cert and -client-key go together; one is missing"),
        };
        if let Some(file) = given(&self.ca_cert) {
            tls.authority = Some(text(&file)?);
            return Ok(tls);
        }
        let Some(known) = local.and_then(LocalAgent::authority) else { return Ok(tls) };
        let its_own = address.is_none();
        if !(its_own || address.is_some_and(may_be_of_the_cluster)) {
            return Ok(tls);
        }
        // Whoever may not read the agent's files goes on without.
        if let Ok(authority) = text(&known.ca_file) {
            tls.authority = Some(authority);
            if tls.shown.is_none()
                && let (Ok(certificate), Ok(key)) = (text(&known.cert_file), text(&known.key_file))
            {
                tls.shown = Some((certificate, key));
            }
            if its_own && tls.server_name.is_none() {
                tls.server_name.clone_from(&known.server_name);
            }
        }
        Ok(tls)
    }
}

/// Agents are reached by addresses or by their hosts' plain names; a name with dots may be a proxy's, with a certificate
/// that the public authorities vouch for.
fn may_be_of_the_cluster(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("https://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => return v6.contains(']'),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.parse::<std::net::IpAddr>().is_ok() || !host.contains('.')
}

fn text(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", path.display());
    let size = std::fs::metadata(path).with_context(reading)?.len();
    if size > LIMIT {
        bail!("{} has {size} bytes; no certificate is that long", path.display());
    }
    std::fs::read_to_string(path).with_context(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_is_vouched_for_by_public_authorities() {
        for ours in ["https://10.0.0.1:4646", "https://[fd00::1]:4646", "https://db1:4646/"] {
            assert!(may_be_of_the_cluster(ours), "{ours}");
        }
        for theirs in ["https://herder.example.org", "http://10.0.0.1:4646", "10.0.0.1:4646"] {
            assert!(!may_be_of_the_cluster(theirs), "{theirs}");
        }
    }

    #[test]
    fn a_certificate_to_show_has_a_key() {
        let arguments = TlsArguments { client_cert: Some("/a".into()), ..TlsArguments::default() };
        let error = arguments.read(None, None).expect_err("one is missing");
        assert!(error.to_string().contains("-client-key"), "{error}");
        let nothing = TlsArguments { ca_cert: Some("".into()), ..TlsArguments::default() };
        assert_eq!(nothing.read(None, None).expect("nothing was said"), Tls::default());
    }
}
