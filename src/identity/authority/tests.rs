use x509_parser::prelude::{GeneralName, ParsedExtension};

use super::*;
use crate::Peer;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000_000);

fn cluster() -> ClusterId {
    ClusterId::new(Uuid::from_u128(7))
}

fn grant(role: Role) -> Grant {
    Grant {
        cluster: cluster(),
        node: NodeId::new(Uuid::from_u128(1)),
        role,
        names: vec!["node1.example.org".to_owned()],
        addresses: vec![IpAddr::from([10, 0, 0, 1])],
    }
}

fn issue(authority: &Authority, role: Role) -> String {
    let request = NodeKey::generate().expect("key").request().expect("request");
    authority.issue(&request, &grant(role), NOW, DEFAULT_LIFETIME).expect("issued")
}

#[test]
fn an_authority_survives_its_text() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let again =
        Authority::from_pem(&authority.certificate_pem(), &authority.key_pem()).expect("read");
    assert_eq!(again.fingerprint(), authority.fingerprint());
    assert_eq!(again.not_after(), authority.not_after());
    assert_eq!(
        Fingerprint::of_certificate(&authority.certificate_pem()),
        Ok(authority.fingerprint())
    );
    let certificate = issue(&again, Role::Worker);
    assert_eq!(Peer::from_pem(&certificate).expect("peer").role, Role::Worker);
    assert!(!format!("{authority:?} {:?}", authority.key_pem()).contains("PRIVATE"));
}

#[test]
fn an_authority_is_one_and_signs_no_other() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let parsed = parse(&authority.certificate).expect("parses");
    let constraints = parsed.basic_constraints().expect("readable").expect("there").value;
    assert!(constraints.ca && constraints.path_len_constraint == Some(0));
    let has = |wanted: fn(&ParsedExtension<'_>) -> bool| {
        parsed.extensions().iter().any(|extension| wanted(extension.parsed_extension()))
    };
    assert!(has(|extension| matches!(extension, ParsedExtension::SubjectKeyIdentifier(_))));
    assert!(has(|extension| matches!(extension, ParsedExtension::AuthorityKeyIdentifier(_))));
    let years = authority.not_after().since(NOW).as_secs() / (365 * 24 * 3600);
    assert_eq!(years, 10);

    let leaf = issue(&authority, Role::Server);
    let key = NodeKey::generate().expect("key").to_pem();
    let refused = Authority::from_pem(&leaf, &key).expect_err("no authority");
    assert_eq!(refused, CertificateError::NoAuthority);
    let refused = Authority::from_pem(&authority.certificate_pem(), &key).expect_err("other key");
    assert_eq!(refused, CertificateError::OtherKey);
}

#[test]
fn a_certificate_says_what_was_granted() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let key = NodeKey::generate().expect("key");
    let request = key.request().expect("request");
    let text =
        authority.issue(&request, &grant(Role::Server), NOW, DEFAULT_LIFETIME).expect("issued");
    let peer = Peer::from_pem(&text).expect("peer");
    assert_eq!(peer.cluster, Some(cluster()));
    assert_eq!(peer.node, Some(grant(Role::Server).node));
    assert_eq!((peer.role, peer.region.as_deref()), (Role::Server, None));
    assert_eq!(peer.key, key.fingerprint());
    assert_eq!(NOW.since(peer.not_before), BACKDATE);
    assert_eq!(peer.not_after.since(NOW), DEFAULT_LIFETIME);
    let half = peer.renew_at().since(NOW).as_secs_f64() / DEFAULT_LIFETIME.as_secs_f64();
    assert!((0.44..0.56).contains(&half), "{half}");
    assert!(!peer.is_expired(NOW) && peer.is_expired(NOW + DEFAULT_LIFETIME + SHORTEST));

    let der = pem::certificates(&text).expect("certificate").remove(0);
    let parsed = parse(&der).expect("parses");
    let usage = parsed.extended_key_usage().expect("readable").expect("there").value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    let names = parsed.subject_alternative_name().expect("readable").expect("there").value;
    assert!(names.general_names.contains(&GeneralName::DNSName("node1.example.org")));
    assert!(names.general_names.contains(&GeneralName::IPAddress(&[10, 0, 0, 1])));
}

#[test]
fn what_a_request_asks_for_is_not_given() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let key = NodeKey::generate().expect("key");
    let mut greedy =
        CertificateParams::new(vec!["server.global.herder".to_owned()]).expect("params");
    greedy.distinguished_name = common_name("server".to_owned());
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let wanted = uri(cluster(), Role::Server, NodeId::new(Uuid::from_u128(99)));
    greedy.subject_alt_names.push(SanType::URI(wanted.try_into().expect("URI")));
    let request = greedy.serialize_request(&key.0).expect("request");
    let request = pem::encode("CERTIFICATE REQUEST", request.der());
    let text =
        authority.issue(&request, &grant(Role::Worker), NOW, DEFAULT_LIFETIME).expect("issued");
    let peer = Peer::from_pem(&text).expect("peer");
    assert_eq!((peer.role, peer.node), (Role::Worker, Some(grant(Role::Worker).node)));
    let der = pem::certificates(&text).expect("certificate").remove(0);
    let parsed = parse(&der).expect("parses");
    assert!(!parsed.is_ca());
    assert!(!text.is_empty() && !parsed.subject().to_string().contains("server"));
    let names = parsed.subject_alternative_name().expect("readable").expect("there").value;
    assert!(!names.general_names.contains(&GeneralName::DNSName("server.global.herder")));
}

#[test]
fn a_request_must_prove_its_key() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let request = NodeKey::generate().expect("key").request().expect("request");
    let mut der = pem::request(&request).expect("request").to_vec();
    // The signature is last.
    *der.last_mut().expect("bytes") ^= 1;
    let forged = pem::encode("CERTIFICATE REQUEST", &der);
    let refused =
        authority.issue(&forged, &grant(Role::Worker), NOW, DEFAULT_LIFETIME).expect_err("refused");
    assert!(matches!(refused, CertificateError::Unproven { .. }), "{refused}");
    for nonsense in ["", "nonsense", &authority.certificate_pem()] {
        assert!(authority.issue(nonsense, &grant(Role::Worker), NOW, DEFAULT_LIFETIME).is_err());
    }
}

#[test]
fn names_are_names() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let request = NodeKey::generate().expect("key").request().expect("request");
    let mut wrong = grant(Role::Worker);
    wrong.names = vec!["a b".to_owned()];
    let refused = authority.issue(&request, &wrong, NOW, DEFAULT_LIFETIME).expect_err("refused");
    assert!(refused.to_string().contains("`a b`"), "{refused}");
    wrong.names = vec!["a".to_owned(); MAX_NAMES + 1];
    assert!(authority.issue(&request, &wrong, NOW, DEFAULT_LIFETIME).is_err());
}

#[test]
fn no_certificate_outlives_its_authority() {
    let authority = Authority::create(cluster(), NOW).expect("created");
    let request = NodeKey::generate().expect("key").request().expect("request");
    let late = Timestamp(authority.not_after().0 - 1_000_000_000);
    let text =
        authority.issue(&request, &grant(Role::Worker), late, DEFAULT_LIFETIME).expect("issued");
    assert_eq!(Peer::from_pem(&text).expect("peer").not_after, authority.not_after());
    let refused = authority
        .issue(&request, &grant(Role::Worker), authority.not_after(), DEFAULT_LIFETIME)
        .expect_err("refused");
    assert_eq!(refused, CertificateError::AuthorityExpired);
}

#[test]
fn keys_survive_their_text() {
    let key = NodeKey::generate().expect("key");
    let again = NodeKey::from_pem(key.to_pem().reveal()).expect("read");
    assert_eq!(again.fingerprint(), key.fingerprint());
    assert!(NodeKey::from_pem("nonsense").is_err());
    assert!(matches!(
        NodeKey::from_pem(&"x".repeat(1 << 20)),
        Err(CertificateError::TooLong { .. })
    ));
}
