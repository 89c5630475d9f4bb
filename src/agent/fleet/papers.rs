//! What an agent keeps to show who it is: its key and certificate, the cluster's authority, and, on servers, its key.
//!
//! All of it lies in `<data_dir>/tls`, closed to everybody else. The node's key never leaves the machine; the
//! authority's goes from server to server over mutual TLS and never into the log.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use identity::{
    Authority, Clock, ClusterId, Credentials, DEFAULT_LIFETIME, Grant, NodeKey, Peer, Role,
    SecretText, Trust,
};
use model::NodeId;
use serde::{Deserialize, Serialize};

use crate::directory::write_atomically;

/// What tells this agent's place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The agent's number, should it vote.
    pub(crate) number: u64,
    /// Servers that were there when it last looked; the first to ask after a restart.
    pub(crate) servers: Vec<String>,
    /// Whether its certificates come from an authority of the organisation's own.
    #[serde(default)]
    pub(crate) own: bool,
}

/// The files.
#[derive(Clone, Debug)]
pub(crate) struct Papers {
    dir: PathBuf,
}

impl Papers {
    pub(crate) fn in_directory(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("tls") }
    }

    /// Those of an agent that is alone, which mean nothing to a cluster that it may join or found later.
    pub(crate) fn of_one_alone(data_dir: &Path) -> anyhow::Result<Self> {
        let dir = Self::in_directory(data_dir).dir.join("alone");
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The agent's place, if it has one already.
    pub(crate) fn membership(&self) -> anyhow::Result<Option<Membership>> {
        let Some(text) = self.read("cluster.json")? else { return Ok(None) };
        let path = self.dir.join("cluster.json");
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", path.display()))
            .map(Some)
    }

    pub(crate) fn store_membership(&self, membership: &Membership) -> anyhow::Result<()> {
        self.write("cluster.json", &serde_json::to_string_pretty(membership)?)
    }

    /// The node's key; made where there is none.
    pub(crate) fn key(&self) -> anyhow::Result<NodeKey> {
        if let Some(text) = self.read("node.key")? {
            return NodeKey::from_pem(&text)
                .with_context(|| format!("reading {}", self.dir.join("node.key").display()));
        }
        let key = NodeKey::generate()?;
        self.write("node.key", key.to_pem().reveal())?;
        Ok(key)
    }

    /// Certificate and authority as they were stored last, ready to be shown.
    pub(crate) fn credentials(
        &self,
        cluster: ClusterId,
        clock: &Clock,
    ) -> anyhow::Result<Credentials> {
        let (Some(authority), Some(certificate)) = (self.read("ca.pem")?, self.read("node.pem")?)
        else {
            bail!(
                "{} lacks ca.pem or node.pem: the agent belongs to cluster {cluster} but cannot show it; \
                 remove the folder and join again",
                self.dir.display()
            );
        };
        let trust = Trust::cluster(&authority, cluster)?;
        let credentials = Credentials::empty(trust);
        // One that ended while the agent was off cannot be shown; whoever has a token can still join anew.
        credentials.replace(&certificate, &self.key()?, clock.now()).context(
            "this agent's certificate is not good any more; start it once with --join and a fresh token",
        )?;
        Ok(credentials)
    }

    /// The node that the certificate was issued to, whether or not it is still good.
    pub(crate) fn node(&self) -> anyhow::Result<Option<NodeId>> {
        let Some(certificate) = self.read("node.pem")? else { return Ok(None) };
        let owner = Peer::from_pem(&certificate)
            .with_context(|| format!("reading {}", self.dir.join("node.pem").display()))?;
        Ok(owner.node)
    }

    pub(crate) fn store_authority(&self, certificate: &str) -> anyhow::Result<()> {
        self.write("ca.pem", certificate)
    }

    pub(crate) fn store_certificate(&self, certificate: &str) -> anyhow::Result<()> {
        self.write("node.pem", certificate)
    }

    pub(crate) fn authority_certificate(&self) -> anyhow::Result<Option<String>> {
        self.read("ca.pem")
    }

    /// The authority with its key, where this agent has it.
    pub(crate) fn authority(&self) -> anyhow::Result<Option<Authority>> {
        let (Some(certificate), Some(key)) = (self.read("ca.pem")?, self.read("ca.key")?) else {
            return Ok(None);
        };
        let authority = Authority::from_pem(&certificate, &SecretText::new(key))
            .with_context(|| format!("reading {}", self.dir.join("ca.key").display()))?;
        Ok(Some(authority))
    }

    pub(crate) fn store_authority_key(&self, key: &SecretText) -> anyhow::Result<()> {
        self.write("ca.key", key.reveal())
    }

    /// An agent that votes no more has no use for it.
    pub(crate) fn forget_authority_key(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.dir.join("ca.key")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Founds a cluster: a new authority, and this agent as its first server.
    pub(crate) fn found(
        &self,
        node: NodeId,
        name: &str,
        addresses: Vec<IpAddr>,
        number: u64,
        clock: &Clock,
    ) -> anyhow::Result<Membership> {
        let cluster = ClusterId::new(uuid::Uuid::new_v4());
        let authority = Authority::create(cluster, clock.now())?;
        let grant = Grant {
            cluster,
            node,
            role: Role::Server,
            names: super::names_of(name, true),
            addresses,
        };
        let request = self.key()?.request()?;
        let certificate = authority.issue(&request, &grant, clock.now(), DEFAULT_LIFETIME)?;
        self.store_authority(&authority.certificate_pem())?;
        self.store_authority_key(&authority.key_pem())?;
        self.store_certificate(&certificate)?;
        // Last: what is not there is begun again.
        let membership = Membership { cluster, number, servers: Vec::new(), own: false };
        self.store_membership(&membership)?;
        Ok(membership)
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        write_atomically(&self.dir.join(name), text.as_bytes())
    }
}

/// The number of an agent that was alone before it founded a cluster.
pub(crate) const ALONE: u64 = 1;

/// The number that a node votes under. It fits into what JSON readers call a number.
pub(crate) fn number_of(node: NodeId) -> u64 {
    let (high, low) = node.uuid().as_u64_pair();
    ((high ^ low) & ((1 << 53) - 1)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_founder_is_found_again_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        crate::directory::prepare(dir.path()).expect("prepared");
        let papers = Papers::in_directory(dir.path());
        assert_eq!(papers.membership().expect("reads"), None);
        let (node, clock) = (NodeId::new(uuid::Uuid::new_v4()), Clock::system());
        let founded = papers
            .found(node, "a", vec![IpAddr::from([127, 0, 0, 1])], 7, &clock)
            .expect("founded");
        assert_eq!(papers.membership().expect("reads"), Some(founded.clone()));
        let shown = papers.credentials(founded.cluster, &clock).expect("good");
        let peer = shown.peer().expect("a certificate");
        assert_eq!((peer.node, peer.role), (Some(node), Role::Server));
        assert!(papers.authority().expect("reads").is_some());
        papers.forget_authority_key().expect("removed");
        papers.forget_authority_key().expect("nothing to remove");
        assert!(papers.authority().expect("reads").is_none());
    }
}
