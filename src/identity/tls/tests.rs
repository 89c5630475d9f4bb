use std::sync::atomic::{AtomicI64, Ordering};

use model::{NodeId, Timestamp};
use rustls::{ClientConnection, ServerConnection};
use uuid::Uuid;

use super::*;
use crate::{Authority, Clock, ClusterId, DEFAULT_LIFETIME, Grant, JoinToken, NodeKey, Peer, Role};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000_000);

/// A cluster's authority and the time that its members live in.
struct World {
    authority: Authority,
    cluster: ClusterId,
    now: Arc<AtomicI64>,
}

impl World {
    fn new() -> Self {
        let cluster = ClusterId::new(Uuid::new_v4());
        let authority = Authority::create(cluster, NOW).expect("created");
        Self { authority, cluster, now: Arc::new(AtomicI64::new(NOW.0)) }
    }

    /// Another cluster of the same authority.
    fn sibling(&self) -> Self {
        let (certificate, key) = (self.authority.certificate_pem(), self.authority.key_pem());
        let authority = Authority::from_pem(&certificate, &key).expect("read");
        Self { authority, cluster: ClusterId::new(Uuid::new_v4()), now: Arc::clone(&self.now) }
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::new(move || Timestamp(now.load(Ordering::Relaxed)))
    }

    fn trust(&self) -> crate::Trust {
        crate::Trust::cluster(&self.authority.certificate_pem(), self.cluster).expect("trust")
    }

    fn certificate(&self, key: &NodeKey, role: Role) -> String {
        let node = NodeId::new(Uuid::new_v4());
        let grant =
            Grant { cluster: self.cluster, node, role, names: Vec::new(), addresses: Vec::new() };
        let now = self.clock().now();
        let request = key.request().expect("request");
        self.authority.issue(&request, &grant, now, DEFAULT_LIFETIME).expect("issued")
    }

    fn member(&self, role: Role) -> Credentials {
        let key = NodeKey::generate().expect("key");
        let certificate = self.certificate(&key, role);
        Credentials::new(self.trust(), &certificate, &key, self.clock().now()).expect("good")
    }

    fn server(&self, role: Role) -> ServerTls {
        ServerTls::new(&self.member(role), self.clock()).expect("server")
    }

    fn token(&self) -> JoinToken {
        JoinToken::create(self.cluster, self.authority.fingerprint(), NOW).expect("token")
    }
}

/// All of a handshake, in memory, up to the first error of either side.
fn shake_hands(
    caller: &mut ClientConnection,
    called: &mut ServerConnection,
) -> Result<(), rustls::Error> {
    while caller.is_handshaking() || called.is_handshaking() {
        let mut bytes = Vec::new();
        while caller.wants_write() {
            caller.write_tls(&mut bytes).expect("memory");
        }
        feed(&bytes, |rest| called.read_tls(rest));
        called.process_new_packets()?;
        let mut bytes = Vec::new();
        while called.wants_write() {
            called.write_tls(&mut bytes).expect("memory");
        }
        feed(&bytes, |rest| caller.read_tls(rest));
        caller.process_new_packets()?;
    }
    Ok(())
}

/// A handshake in memory: whom the server sees, or the first error of either side.
fn handshake(client: &ClientTls, server: &ServerTls) -> Result<Option<Peer>, rustls::Error> {
    let mut caller = ClientConnection::new(client.config(), ClientTls::server_name())?;
    let mut called = ServerConnection::new(server.config())?;
    shake_hands(&mut caller, &mut called)?;
    assert_eq!(called.alpn_protocol(), Some(ALPN));
    Ok(server.peer(called.peer_certificates()).expect("verified already"))
}

fn feed(bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    let mut rest = bytes;
    while !rest.is_empty() && read(&mut rest).expect("memory") > 0 {}
}

fn refused(client: &ClientTls, server: &ServerTls) -> String {
    let error = handshake(client, server).expect_err("refused");
    explain(&error)
}

#[test]
fn members_know_each_other() {
    let world = World::new();
    let worker = world.member(Role::Worker);
    let client = ClientTls::new(&worker, world.clock()).expect("client");
    let seen = handshake(&client, &world.server(Role::Server)).expect("handshake");
    assert_eq!(seen, worker.peer());
}

#[test]
fn a_worker_is_no_server() {
    let world = World::new();
    let client = ClientTls::new(&world.member(Role::Server), world.clock()).expect("client");
    let words = refused(&client, &world.server(Role::Worker));
    assert!(words.contains("a server is wanted"), "{words}");
}

#[test]
fn another_authority_is_not_believed_by_either_side() {
    let (ours, theirs) = (World::new(), World::new());
    let client = ClientTls::new(&ours.member(Role::Server), ours.clock()).expect("client");
    let words = refused(&client, &theirs.server(Role::Server));
    assert!(words.contains("another authority"), "{words}");

    // A caller that believes everything is refused by the server all the same.
    let key = NodeKey::generate().expect("key");
    let foreign = theirs.certificate(&key, Role::Server);
    let own = Credentials::new(ours.trust(), &foreign, &key, NOW).expect_err("not ours");
    assert!(own.to_string().contains("not accepted"), "{own}");
    let stranger = Credentials::new(theirs.trust(), &foreign, &key, NOW).expect("theirs");
    let mut config = ClientTls::new(&ours.member(Role::Server), ours.clock())
        .expect("client")
        .config()
        .as_ref()
        .clone();
    config.client_auth_cert_resolver = Arc::new(stranger);
    let mut caller =
        ClientConnection::new(Arc::new(config), ClientTls::server_name()).expect("caller");
    let mut called = ServerConnection::new(ours.server(Role::Server).config()).expect("called");
    let error = loop {
        let mut bytes = Vec::new();
        while caller.wants_write() {
            caller.write_tls(&mut bytes).expect("memory");
        }
        called.read_tls(&mut bytes.as_slice()).expect("memory");
        if let Err(error) = called.process_new_packets() {
            break error;
        }
        let mut bytes = Vec::new();
        while called.wants_write() {
            called.write_tls(&mut bytes).expect("memory");
        }
        caller.read_tls(&mut bytes.as_slice()).expect("memory");
        caller.process_new_packets().expect("the caller is content");
    };
    assert!(explain(&error).contains("another authority"), "{error}");
}

#[test]
fn another_cluster_of_the_same_authority_is_not_ours() {
    let ours = World::new();
    let other = ours.sibling();
    let client = ClientTls::new(&ours.member(Role::Server), ours.clock()).expect("client");
    let words = refused(&client, &other.server(Role::Server));
    assert!(words.contains("is wanted here"), "{words}");
}

#[test]
fn an_expired_certificate_ends_the_handshake() {
    let world = World::new();
    let client = ClientTls::new(&world.member(Role::Worker), world.clock()).expect("client");
    let server = world.member(Role::Server);
    let tls = ServerTls::new(&server, world.clock()).expect("server");
    world
        .now
        .fetch_add(i64::try_from(DEFAULT_LIFETIME.as_nanos()).expect("fits"), Ordering::Relaxed);
    world.now.fetch_add(2_000_000_000, Ordering::Relaxed);
    assert!(refused(&client, &tls).contains("expired"));

    // The server renewed; the caller has not.
    let key = NodeKey::generate().expect("key");
    let now = world.clock().now();
    server.replace(&world.certificate(&key, Role::Server), &key, now).expect("renewed");
    assert!(refused(&client, &tls).contains("expired"));
}

#[test]
fn a_joiner_knows_the_cluster_by_its_token() {
    let world = World::new();
    let client = ClientTls::for_joining(&world.token(), world.clock()).expect("client");
    let server = world.server(Role::Server);
    assert_eq!(handshake(&client, &server).expect("handshake"), None);
    let words = refused(&client, &world.server(Role::Worker));
    assert!(words.contains("a server is wanted"), "{words}");
    let words = refused(&client, &World::new().server(Role::Server));
    assert!(words.contains("join token does not name"), "{words}");
}

#[test]
fn a_joiner_is_not_fooled_by_a_copied_authority() {
    // A stranger shows the right authority's certificate, which everybody may have, behind a certificate of its own.
    let (ours, theirs) = (World::new(), World::new());
    let key = NodeKey::generate().expect("key");
    let chain =
        format!("{}{}", theirs.certificate(&key, Role::Server), ours.authority.certificate_pem());
    let stranger = Credentials::new(theirs.trust(), &chain, &key, NOW).expect("theirs");
    let server = ServerTls::new(&stranger, theirs.clock()).expect("server");
    let client = ClientTls::for_joining(&ours.token(), ours.clock()).expect("client");
    let words = refused(&client, &server);
    assert!(words.contains("another authority"), "{words}");
}

#[test]
fn a_certificate_is_replaced_in_place() {
    let world = World::new();
    let worker = world.member(Role::Worker);
    let client = ClientTls::new(&worker, world.clock()).expect("client");
    let server = world.server(Role::Server);
    let first = handshake(&client, &server).expect("handshake").expect("peer");

    let key = NodeKey::generate().expect("key");
    let certificate = world.certificate(&key, Role::Worker);
    let other = NodeKey::generate().expect("key");
    assert_eq!(
        worker.replace(&certificate, &other, NOW),
        Err(crate::CertificateError::OtherKey),
        "what could not be used does not replace what can"
    );
    assert_eq!(worker.peer().as_ref(), Some(&first));
    worker.replace(&certificate, &key, NOW).expect("replaced");
    let second = handshake(&client, &server).expect("handshake").expect("peer");
    assert_ne!(first.serial, second.serial);
    assert_eq!(second.key, key.fingerprint());
}

#[test]
fn a_user_may_bring_an_authority() {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer};

    let world = World::new();
    let issuer_key = NodeKey::from_pem(world.authority.key_pem().reveal()).expect("key");
    let authority =
        crate::pem::certificates(&world.authority.certificate_pem()).expect("der").remove(0);
    let issuer = Issuer::from_ca_cert_der(&authority, &issuer_key.0).expect("issuer");
    let member = |name: &str, region: &str| {
        let key = NodeKey::generate().expect("key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("params");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key.0, &issuer).expect("signed");
        let leaf = crate::pem::encode("CERTIFICATE", leaf.der());
        let trust =
            crate::Trust::region(&world.authority.certificate_pem(), region).expect("trust");
        Credentials::new(trust, &leaf, &key, NOW)
    };
    let server = member("server.global.herder", "global").expect("member");
    let tls = ServerTls::new(&server, world.clock()).expect("server");
    let worker = member("client.global.nomad", "global").expect("member");
    let client = ClientTls::new(&worker, world.clock()).expect("client");
    let seen = handshake(&client, &tls).expect("handshake").expect("peer");
    let node = crate::node_of(&seen.key);
    assert_eq!((seen.role, seen.node, seen.cluster), (Role::Worker, Some(node), None));
    assert_eq!(seen.region.as_deref(), Some("global"));

    assert!(member("server.global.herder", "eu").is_err(), "another region's");
    assert!(member("www.example.org", "global").is_err(), "nobody's");
    let fleet = ClientTls::new(&world.member(Role::Server), world.clock()).expect("client");
    assert!(handshake(&fleet, &tls).is_err(), "a name is not enough where nodes are named");
}

/// A handshake of somebody who looks at names, as every HTTP client does: the certificate that was shown.
fn ask_over_https(
    roots: &crate::Trust,
    web: &WebTls,
    name: &str,
    shows: Option<&Credentials>,
) -> Result<Vec<u8>, rustls::Error> {
    let builder = rustls::ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(roots.roots());
    let config = match shows {
        Some(shows) => builder.with_client_cert_resolver(Arc::new(shows.clone())),
        None => builder.with_no_client_auth(),
    };
    let name = name.to_owned().try_into().expect("a name");
    let mut caller = ClientConnection::new(Arc::new(config), name)?;
    let mut called = ServerConnection::new(web.config())?;
    shake_hands(&mut caller, &mut called)?;
    Ok(caller.peer_certificates().expect("shown")[0].to_vec())
}

/// A certificate that was made by hand, and its key.
fn by_hand(
    authority: &Authority,
    bearer: crate::Bearer,
    names: &[&str],
    now: Timestamp,
) -> (String, NodeKey) {
    let key = NodeKey::generate().expect("key");
    let leaf = crate::Leaf {
        bearer,
        region: "global".to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: vec![std::net::IpAddr::from([10, 0, 0, 7])],
    };
    let made = authority.issue_leaf(&key, &leaf, now, DEFAULT_LIFETIME).expect("issued");
    (made, key)
}

#[test]
fn https_shows_the_nodes_certificate_and_the_next_one_once_it_is_replaced() {
    // The caller looks at the system's time.
    let now = Clock::system().now();
    let [authority, other] =
        [0; 2].map(|_| Authority::create_named("Acme", now, DEFAULT_LIFETIME).expect("created"));
    let trust = |authority: &Authority| {
        crate::Trust::region(&authority.certificate_pem(), "global").expect("trust")
    };
    let fresh = || {
        let server = crate::Bearer::Agent { role: Role::Server, node: None };
        by_hand(&authority, server, &["localhost"], now)
    };
    let (first, key) = fresh();
    let held = Credentials::new(trust(&authority), &first, &key, now).expect("good");
    let web = WebTls::new(&held, false, Clock::system()).expect("web");
    let trusted = trust(&authority);
    let shown = ask_over_https(&trusted, &web, "localhost", None).expect("answered");
    for name in ["10.0.0.7", "server.global.herder"] {
        assert_eq!(ask_over_https(&trusted, &web, name, None).expect(name), shown);
    }
    assert!(ask_over_https(&trusted, &web, "10.0.0.8", None).is_err(), "not its address");
    assert!(ask_over_https(&trust(&other), &web, "localhost", None).is_err(), "a stranger");
    let (second, key) = fresh();
    held.replace(&second, &key, now).expect("replaced");
    let renewed = ask_over_https(&trusted, &web, "localhost", None).expect("answered");
    assert_ne!(shown, renewed, "the same configuration shows the new certificate");
}

#[test]
fn https_can_ask_for_a_certificate() {
    let now = Clock::system().now();
    let cluster = ClusterId::new(Uuid::new_v4());
    let authority = Authority::create(cluster, now).expect("created");
    let trust = crate::Trust::cluster(&authority.certificate_pem(), cluster).expect("trust");
    let member = || {
        let key = NodeKey::generate().expect("key");
        let grant = Grant {
            cluster,
            node: NodeId::new(Uuid::new_v4()),
            role: Role::Server,
            names: vec!["localhost".to_owned()],
            addresses: Vec::new(),
        };
        let request = key.request().expect("request");
        let certificate = authority.issue(&request, &grant, now, DEFAULT_LIFETIME).expect("issued");
        Credentials::new(trust.clone(), &certificate, &key, now).expect("good")
    };
    let web = WebTls::new(&member(), true, Clock::system()).expect("web");
    assert!(ask_over_https(&trust, &web, "localhost", None).is_err(), "none was shown");
    ask_over_https(&trust, &web, "localhost", Some(&member())).expect("one of ours");
}

#[test]
fn a_certificate_made_by_hand_may_name_its_node() {
    let authority = Authority::create_named("Acme", NOW, DEFAULT_LIFETIME).expect("created");
    let node = NodeId::new(Uuid::new_v4());
    let bearer = crate::Bearer::Agent { role: Role::Worker, node: Some(node) };
    let (certificate, _) = by_hand(&authority, bearer, &[], NOW);
    let peer = Peer::from_pem(&certificate).expect("a peer");
    assert_eq!((peer.node, peer.role), (Some(node), Role::Worker));
    assert_eq!(peer.region.as_deref(), Some("global"));
    let (person, _) = by_hand(&authority, crate::Bearer::Person, &[], NOW);
    assert!(Peer::from_pem(&person).is_err(), "a person is no agent");
}
