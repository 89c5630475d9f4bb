//! Certificates of an authority of the organisation's own: three files that somebody else writes.
//!
//! Certificate and key are read again when one of them changes, and at SIGHUP; the authority counts as it was at the
//! start. Whoever has a certificate of the authority for this region belongs to the fleet: there are no tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use identity::{ClientTls, Clock, Credentials, NodeKey, Peer, Trust};
use model::NodeId;
use rpc::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::joining::ask_any;
use super::messages::{WHO, WhoAnswer};
use crate::config::OwnCertificates;

/// How often it is looked whether the files changed.
const LOOK: Duration = Duration::from_secs(5);
/// The longest file that is read.
const LIMIT: u64 = 64 * 1024;
/// From then on before its end, a certificate is called to mind.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// The files, and what they held last.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    files: OwnCertificates,
    pub(crate) credentials: Credentials,
    pub(crate) peer: Peer,
    held: Pair,
    clock: Clock,
}

/// Certificate and key as text.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: String,
    key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair(…)")
    }
}

impl Own {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read, do not belong together, or say nothing of an agent of the region.
    pub(crate) fn read(files: &OwnCertificates, clock: &Clock) -> anyhow::Result<Self> {
        let authority = text(&files.ca_file)?;
        let trust = Trust::region(&authority, &files.region)
            .with_context(|| format!("tls: ca_file {}", files.ca_file.display()))?;
        let held = Pair::read(files)?;
        let credentials = Credentials::empty(trust);
        held.show(&credentials, files, clock)?;
        let Some(peer) = credentials.peer() else { bail!("tls: the certificate names nobody") };
        Ok(Self { files: files.clone(), credentials, peer, held, clock: clock.clone() })
    }

    /// Which node the certificate says that this is.
    pub(crate) fn node(&self) -> anyhow::Result<NodeId> {
        self.peer.node.context("tls: the certificate names no node")
    }

    pub(crate) fn authority_file(&self) -> &Path {
        &self.files.ca_file
    }

    pub(crate) fn certificate_file(&self) -> &Path {
        &self.files.cert_file
    }

    pub(crate) fn key_file(&self) -> &Path {
        &self.files.key_file
    }

    /// Checks that the data directory belongs to the node that the certificate names.
    pub(crate) fn check(&self, there: NodeId) -> anyhow::Result<()> {
        let named = self.node()?;
        if named != there {
            bail!(
                "tls: {} is for node {named}, and the data directory is node {there}'s: have a certificate made for \
                 this node (`herder tls cert create -node-id {there}`), or keep the key when it is renewed",
                self.files.cert_file.display()
            );
        }
        Ok(())
    }

    /// Shows what the files hold from now on, whenever they change, until `stop`.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let (mut last, mut reminded) = (String::new(), None);
        loop {
            self.remind(&mut reminded);
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = asked => last.clear(),
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.look() {
                Ok(true) => {
                    last.clear();
                    reminded = None;
                    let hours = self.peer.remaining(self.clock.now()).as_secs() / 3600;
                    tracing::info!("certificate read again; it is good for {hours} hours");
                }
                Ok(false) => {}
                Err(error) => {
                    let words = format!("{error:#}");
                    if words != last {
                        tracing::warn!("the certificate stays the one that it was: {words}");
                        last = words;
                    }
                }
            }
        }
    }

    /// Whether there was something new.
    fn look(&mut self) -> anyhow::Result<bool> {
        let now = Pair::read(&self.files)?;
        if now == self.held {
            return Ok(false);
        }
        let peer = Peer::from_pem(&now.certificate)?;
        if peer.node != self.peer.node || peer.role != self.peer.role {
            bail!(
                "{} names another node or role than before ({peer} instead of {}); that takes a restart",
                self.files.cert_file.display(),
                self.peer
            );
        }
        now.show(&self.credentials, &self.files, &self.clock)?;
        (self.held, self.peer) = (now, peer);
        Ok(true)
    }

    fn remind(&self, reminded: &mut Option<tokio::time::Instant>) {
        let left = self.peer.remaining(self.clock.now());
        if left > SOON || reminded.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        *reminded = Some(tokio::time::Instant::now());
        tracing::warn!(
            "the certificate in {} ends in {} hours; put a new one and its key in place, it is read by itself",
            self.files.cert_file.display(),
            left.as_secs() / 3600
        );
    }
}

impl Pair {
    fn read(files: &OwnCertificates) -> anyhow::Result<Self> {
        Ok(Self { certificate: text(&files.cert_file)?, key: text(&files.key_file)? })
    }

    fn show(
        &self,
        credentials: &Credentials,
        files: &OwnCertificates,
        clock: &Clock,
    ) -> anyhow::Result<()> {
        let key = NodeKey::from_pem(&self.key)
            .with_context(|| format!("tls: key_file {}", files.key_file.display()))?;
        credentials
            .replace(&self.certificate, &key, clock.now())
            .with_context(|| format!("tls: cert_file {}", files.cert_file.display()))
    }
}

fn text(path: &PathBuf) -> anyhow::Result<String> {
    let read = || format!("tls: reading {}", path.display());
    let size = std::fs::metadata(path).with_context(read)?.len();
    if size > LIMIT {
        bail!("tls: {} has {size} bytes; no certificate and no key is that long", path.display());
    }
    std::fs::read_to_string(path).with_context(read)
}

/// Asks any of these servers, whose certificates are of the same authority, which cluster this is.
///
/// # Errors
/// When one says no, or none can be reached for a minute.
pub(crate) async fn find_cluster(
    credentials: &Credentials,
    servers: &[String],
    clock: &Clock,
) -> anyhow::Result<WhoAnswer> {
    let client = Client::new(ClientTls::new(credentials, clock.clone())?);
    ask_any(&client, servers, WHO, &Bytes::new()).await
}

#[cfg(test)]
mod tests {
    use identity::{Authority, Bearer, DEFAULT_LIFETIME, Leaf, Role};

    use super::*;

    struct Desk {
        dir: tempfile::TempDir,
        authority: Authority,
        clock: Clock,
    }

    impl Desk {
        fn new() -> Self {
            let clock = Clock::system();
            let authority = Authority::create_named("Acme", clock.now(), DEFAULT_LIFETIME);
            let desk = Self {
                dir: tempfile::tempdir().expect("a directory"),
                authority: authority.expect("an authority"),
                clock,
            };
            desk.write("ca", &desk.authority.certificate_pem());
            desk
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.dir.path().join(name), text).expect("written");
        }

        fn put(&self, key: &NodeKey, bearer: Bearer) {
            let leaf = Leaf {
                bearer,
                region: "global".to_owned(),
                names: Vec::new(),
                addresses: Vec::new(),
            };
            let made = self.authority.issue_leaf(key, &leaf, self.clock.now(), DEFAULT_LIFETIME);
            self.write("cert", &made.expect("a certificate"));
            self.write("key", key.to_pem().reveal());
        }

        fn read(&self, region: &str) -> anyhow::Result<Own> {
            let file = |name: &str| self.dir.path().join(name);
            let files = OwnCertificates {
                ca_file: file("ca"),
                cert_file: file("cert"),
                key_file: file("key"),
                region: region.to_owned(),
            };
            Own::read(&files, &self.clock)
        }
    }

    fn agent(role: Role, node: Option<NodeId>) -> Bearer {
        Bearer::Agent { role, node }
    }

    #[test]
    fn files_that_change_are_shown() {
        let desk = Desk::new();
        let key = NodeKey::generate().expect("a key");
        desk.put(&key, agent(Role::Server, None));
        let mut own = desk.read("global").expect("read");
        let first = own.credentials.peer().expect("shown");
        assert_eq!(own.node().ok(), Some(identity::node_of(&key.fingerprint())));
        assert!(!own.look().expect("looked"), "nothing changed");
        desk.put(&key, agent(Role::Server, None));
        assert!(own.look().expect("looked"));
        assert_ne!(own.credentials.peer().expect("shown").serial, first.serial);
        assert!(!format!("{own:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_is_not_shown() {
        let desk = Desk::new();
        let (key, other) =
            (NodeKey::generate().expect("a key"), NodeKey::generate().expect("a key"));
        desk.put(&key, agent(Role::Worker, None));
        assert!(desk.read("eu").is_err(), "another region");
        let mut own = desk.read("global").expect("read");
        let shown = own.credentials.peer();
        desk.write("key", other.to_pem().reveal());
        assert!(own.look().is_err(), "another key");
        desk.put(&other, agent(Role::Worker, None));
        assert!(own.look().is_err(), "another key is another node");
        desk.put(&key, agent(Role::Server, None));
        assert!(own.look().is_err(), "another role");
        desk.put(&key, Bearer::Person);
        assert!(own.look().is_err() && desk.read("global").is_err(), "nobody of the fleet");
        assert_eq!(own.credentials.peer(), shown);
    }

    #[test]
    fn a_certificate_that_names_its_node_may_have_another_key() {
        let desk = Desk::new();
        let node = NodeId::new(uuid::Uuid::new_v4());
        let [first, second] = [0; 2].map(|_| NodeKey::generate().expect("a key"));
        desk.put(&first, agent(Role::Worker, Some(node)));
        let mut own = desk.read("global").expect("read");
        own.check(node).expect("its own");
        assert!(own.check(NodeId::new(uuid::Uuid::new_v4())).is_err());
        desk.put(&second, agent(Role::Worker, Some(node)));
        assert!(own.look().expect("looked"));
    }
}
