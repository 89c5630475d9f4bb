//! Who is let in: what a server decides when a machine shows a token, a certificate that ends, or wants to vote.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use identity::{
    Authority, DEFAULT_LIFETIME, Fingerprint, Grant, JoinToken, Peer, Role, SecretHash, node_of,
};
use model::{NodeId, Timestamp};
use state::State;

use super::messages::{JoinAnswer, JoinRequest, RenewRequest};

/// Most addresses that a machine may be known by.
const MAX_ADDRESSES: usize = 16;

/// What an admission is decided from.
pub(crate) struct Office<'a> {
    pub(crate) state: &'a State,
    pub(crate) authority: &'a Authority,
    pub(crate) cluster: identity::ClusterId,
    pub(crate) now: Timestamp,
    /// Where the servers are.
    pub(crate) servers: Vec<String>,
}

impl Office<'_> {
    /// A certificate for whoever has a good token.
    ///
    /// # Errors
    /// Why not, in words for the operator of the new machine.
    pub(crate) fn join(
        &self,
        request: &JoinRequest,
        servers: Vec<String>,
    ) -> Result<JoinAnswer, String> {
        let token = JoinToken::parse(&request.token).map_err(|error| error.to_string())?;
        token.check(self.now).map_err(|error| error.to_string())?;
        let known = self
            .state
            .join_token(&token.id().to_string())
            .ok_or("the cluster does not know this token (any more); make another with `herder token join`")?;
        let stored = SecretHash::new(known.secret_hash.0);
        if known.expires_at <= self.now || !stored.matches(&token.secret_hash()) {
            return Err("the cluster does not take this token any more; make another with `herder token join`".to_owned());
        }
        self.admitted(request.node)?;
        let certificate =
            self.issue(request.node, Role::Worker, Said::of(request), &request.request)?;
        // Whoever has a token may bring a new node, and must not become one that is there already.
        if node_of(&key_in(&certificate)?) != request.node {
            return Err("the machine claims to be a node whose key it does not have".to_owned());
        }
        Ok(JoinAnswer {
            cluster: self.cluster,
            authority: self.authority.certificate_pem(),
            certificate,
            servers,
        })
    }

    /// A fresh certificate for a node that has one. A server's only for those that are to vote.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn renew(
        &self,
        peer: &Peer,
        is_member: bool,
        request: &RenewRequest,
    ) -> Result<String, String> {
        let node = peer.node.ok_or("certificates of an authority of your own are renewed by it")?;
        self.admitted(node)?;
        if request.server && !is_member {
            return Err(format!("node {} is no server: nobody has made it one", node.short()));
        }
        let role = if request.server { Role::Server } else { Role::Worker };
        let said = Said { name: &request.name, addresses: &request.addresses };
        let certificate = self.issue(node, role, said, &request.request)?;
        if key_in(&certificate)? != peer.key {
            return Err(
                "a certificate is renewed for the key that it is for, and no other".to_owned()
            );
        }
        Ok(certificate)
    }

    fn admitted(&self, node: NodeId) -> Result<(), String> {
        if self.state.is_removed(node) {
            return Err(format!(
                "node {} was removed from the cluster; to come back it needs a new identity: remove \
                 its data directory",
                node.short()
            ));
        }
        Ok(())
    }

    /// The names and addresses that whoever asks over HTTP may know a node by. They are the machine's own word, and
    /// agents do not look at them; but nobody may pass for a server who is none.
    fn known_by(&self, node: NodeId, role: Role, said: Said<'_>) -> (Vec<String>, Vec<IpAddr>) {
        let mut names = super::names_of(said.name, role == Role::Server);
        let registered = self.state.node(node);
        let mut addresses: Vec<IpAddr> =
            said.addresses.iter().copied().take(MAX_ADDRESSES).collect();
        if let Some(address) = registered.and_then(|node| IpAddr::from_str(&node.address).ok())
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
        if role == Role::Worker {
            let taken: Vec<IpAddr> = self
                .servers
                .iter()
                .filter_map(|server| SocketAddr::from_str(server).ok())
                .map(|server| server.ip())
                .collect();
            addresses.retain(|address| address.is_loopback() || !taken.contains(address));
            let servers = self
                .state
                .nodes()
                .filter(|other| other.id != node && self.servers.contains(&other.rpc_address));
            let server_names: Vec<&str> = servers.map(|other| other.name.as_str()).collect();
            names.retain(|name| !server_names.iter().any(|taken| taken.eq_ignore_ascii_case(name)));
        }
        (names, addresses)
    }

    fn issue(
        &self,
        node: NodeId,
        role: Role,
        said: Said<'_>,
        request: &str,
    ) -> Result<String, String> {
        let (names, addresses) = self.known_by(node, role, said);
        let grant = Grant { cluster: self.cluster, node, role, names, addresses };
        self.authority
            .issue(request, &grant, self.now, DEFAULT_LIFETIME)
            .map_err(|error| error.to_string())
    }
}

/// What a machine says of itself.
#[derive(Clone, Copy)]
struct Said<'a> {
    name: &'a str,
    addresses: &'a [IpAddr],
}

impl<'a> Said<'a> {
    fn of(request: &'a JoinRequest) -> Self {
        Self { name: &request.name, addresses: &request.addresses }
    }
}

fn key_in(certificate: &str) -> Result<Fingerprint, String> {
    Peer::from_pem(certificate).map(|peer| peer.key).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use identity::{ClusterId, NodeKey};
    use model::NodeRole;
    use state::Command;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    struct Town {
        state: State,
        authority: Authority,
        cluster: ClusterId,
    }

    impl Town {
        fn new() -> Self {
            let cluster = ClusterId::new(model::seeded_uuid(&[b"town"]));
            let authority = Authority::create(cluster, NOW).expect("an authority");
            Self { state: State::default(), authority, cluster }
        }

        fn office(&self) -> Office<'_> {
            Office {
                state: &self.state,
                authority: &self.authority,
                cluster: self.cluster,
                now: NOW,
                servers: vec!["10.0.0.1:4647".to_owned()],
            }
        }

        fn token(&mut self, life: Duration) -> JoinToken {
            let token = JoinToken::create(self.cluster, self.authority.fingerprint(), NOW + life)
                .expect("a token");
            self.apply(&Command::PutJoinToken {
                id: token.id().to_string(),
                secret_hash: state::SecretHash(*token.secret_hash().as_bytes()),
                expires_at: token.expires(),
                at: NOW,
            });
            token
        }

        fn apply(&mut self, command: &Command) {
            assert_eq!(self.state.apply(self.state.index() + 1, command).rejection, None);
        }
    }

    fn request(token: &JoinToken, key: &NodeKey) -> JoinRequest {
        JoinRequest {
            token: token.to_text().reveal().to_owned(),
            request: key.request().expect("a request"),
            node: node_of(&key.fingerprint()),
            name: "web-1".to_owned(),
            role: NodeRole::Auto,
            version: "0".to_owned(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_token_lets_a_worker_in() {
        let mut town = Town::new();
        let token = town.token(Duration::from_secs(60));
        let key = NodeKey::generate().expect("a key");
        let answer = town.office().join(&request(&token, &key), Vec::new()).expect("joins");
        let peer = Peer::from_pem(&answer.certificate).expect("a certificate");
        assert_eq!((peer.node, peer.role), (Some(node_of(&key.fingerprint())), Role::Worker));
    }

    #[test]
    fn a_worker_is_known_by_no_name_or_address_of_a_server() {
        let mut town = Town::new();
        let token = town.token(Duration::from_secs(60));
        let server = Box::new(model::Node {
            id: NodeId::new(model::seeded_uuid(&[b"server"])),
            name: "db-1".to_owned(),
            rpc_address: "10.0.0.1:4647".to_owned(),
            ..model::Node::default()
        });
        town.apply(&Command::RegisterNode { node: server, at: NOW });
        let key = NodeKey::generate().expect("a key");
        let mut asked = request(&token, &key);
        let own = [[10, 0, 0, 2], [127, 0, 0, 1]].map(IpAddr::from);
        asked.addresses = vec![own[0], own[1], IpAddr::from([10, 0, 0, 1])];
        let known_by = |name: &str| {
            let asked = JoinRequest { name: name.to_owned(), ..asked.clone() };
            let answer = town.office().join(&asked, Vec::new()).expect("joins");
            let peer = Peer::from_pem(&answer.certificate).expect("a certificate");
            (peer.names, peer.addresses)
        };
        assert_eq!(known_by("web-1"), (vec!["web-1".into(), "localhost".into()], own.to_vec()));
        for taken in ["db-1", "DB-1", "server.global.herder", "a b", ""] {
            assert_eq!(known_by(taken).0, ["localhost"], "{taken}");
        }
        // One that is to vote may share a server's machine.
        let answer = town.office().join(&asked, Vec::new()).expect("joins");
        let peer = Peer::from_pem(&answer.certificate).expect("a certificate");
        let renewal = RenewRequest {
            request: key.request().expect("a request"),
            server: true,
            name: "web-1".to_owned(),
            addresses: asked.addresses.clone(),
        };
        let renewed = town.office().renew(&peer, true, &renewal).expect("renewed");
        let peer = Peer::from_pem(&renewed).expect("a certificate");
        assert_eq!(peer.addresses, asked.addresses);
        assert!(peer.names.contains(&"server.global.herder".to_owned()), "{:?}", peer.names);
    }

    #[test]
    fn a_token_makes_nobody_somebody_else() {
        let mut town = Town::new();
        let token = town.token(Duration::from_secs(60));
        let [key, other] = [0; 2].map(|_| NodeKey::generate().expect("a key"));
        let mut wrong = request(&token, &key);
        wrong.node = node_of(&other.fingerprint());
        let error = town.office().join(&wrong, Vec::new()).expect_err("refused");
        assert!(error.contains("whose key it does not have"), "{error}");
    }

    #[test]
    fn tokens_that_are_unknown_revoked_or_of_the_same_name_let_nobody_in() {
        let mut town = Town::new();
        let key = NodeKey::generate().expect("a key");
        let stranger = Town::new().token(Duration::from_secs(60));
        assert!(town.office().join(&request(&stranger, &key), Vec::new()).is_err());
        let token = town.token(Duration::from_secs(60));
        town.apply(&Command::PutJoinToken {
            id: token.id().to_string(),
            secret_hash: state::SecretHash([7; 32]),
            expires_at: token.expires(),
            at: NOW,
        });
        assert!(town.office().join(&request(&token, &key), Vec::new()).is_err(), "another secret");
        let token = town.token(Duration::from_secs(60));
        town.apply(&Command::RevokeJoinToken { id: token.id().to_string(), at: NOW });
        assert!(town.office().join(&request(&token, &key), Vec::new()).is_err(), "revoked");
    }

    #[test]
    fn only_members_become_servers_and_nobody_changes_keys() {
        let mut town = Town::new();
        let token = town.token(Duration::from_secs(60));
        let key = NodeKey::generate().expect("a key");
        let answer = town.office().join(&request(&token, &key), Vec::new()).expect("joins");
        let peer = Peer::from_pem(&answer.certificate).expect("a certificate");
        let renew = |key: &NodeKey, server| RenewRequest {
            request: key.request().expect("a request"),
            server,
            name: String::new(),
            addresses: Vec::new(),
        };
        let office = town.office();
        assert!(office.renew(&peer, false, &renew(&key, true)).is_err());
        let server = office.renew(&peer, true, &renew(&key, true)).expect("renewed");
        assert_eq!(Peer::from_pem(&server).expect("a certificate").role, Role::Server);
        let other = NodeKey::generate().expect("a key");
        assert!(office.renew(&peer, true, &renew(&other, false)).is_err());
        let id = peer.node.expect("named");
        let node = Box::new(model::Node { id, ..model::Node::default() });
        town.apply(&Command::RegisterNode { node, at: NOW });
        town.apply(&Command::RemoveNode { node: id, until: peer.not_after, at: NOW });
        assert!(town.office().renew(&peer, true, &renew(&key, false)).is_err());
        assert!(town.office().join(&request(&token, &key), Vec::new()).is_err());
    }
}
