//! What a certificate says of its owner.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use model::{NodeId, Timestamp};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::{CertificateError, ClusterId, Fingerprint};

/// What a member of the fleet is trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May decide: votes, or will.
    Server,
    /// Runs allocations.
    Worker,
}

impl Role {
    /// As in a certificate's URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The owner of a certificate. Only a certificate that was verified makes one that may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The cluster; `None` for a certificate of the user's own authority.
    pub cluster: Option<ClusterId>,
    /// The node. Where the certificate of a user's own authority names none, it follows from the key.
    pub node: Option<NodeId>,
    /// The region that a certificate of the user's own authority is for.
    pub region: Option<String>,
    /// What it may be.
    pub role: Role,
    /// The DNS names that others than agents know it by.
    pub names: Vec<String>,
    /// The addresses, likewise.
    pub addresses: Vec<IpAddr>,
    /// The certificate's number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub key: Fingerprint,
    /// From then on the certificate is good.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
}

impl Peer {
    /// Reads the first certificate of a PEM text, without a look at who signed it: for one's own.
    ///
    /// # Errors
    /// When it is no certificate or names no member of a fleet.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let certificates = crate::pem::certificates(text)?;
        certificates.first().ok_or(CertificateError::Nameless).and_then(Self::from_der)
    }

    pub(crate) fn from_der(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| CertificateError::Unreadable { detail: error.to_string() })?
            .ok_or(CertificateError::Nameless)?;
        let owner = owner(&names.value.general_names).ok_or(CertificateError::Nameless)?;
        let validity = certificate.validity();
        let key = Fingerprint::of(certificate.public_key().raw);
        Ok(Self {
            cluster: owner.cluster,
            node: owner.node.or_else(|| Some(crate::node_of(&key))),
            region: owner.region,
            role: owner.role,
            names: names_in(&names.value.general_names),
            addresses: addresses_in(&names.value.general_names),
            serial: certificate.serial.to_str_radix(16),
            key,
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
        })
    }

    /// Whether the certificate is past its end.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// When to ask for a new certificate: between 45 and 55 % of its life, spread by its number, so that nodes that
    /// joined together do not renew together.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.not_after.since(self.not_before);
        let spread =
            self.serial.bytes().fold(0_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 101);
        self.not_before + life.mul_f64(0.45 + f64::from(spread) / 1000.0)
    }

    /// How long the certificate is good for from `now` on; zero when it has expired.
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.not_after.since(now)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{} {node}", self.role)?,
            None => write!(f, "a {}", self.role)?,
        }
        match (&self.cluster, &self.region) {
            (Some(cluster), _) => write!(f, " of cluster {cluster}"),
            (None, Some(region)) => write!(f, " of region {region}"),
            (None, None) => Ok(()),
        }
    }
}

pub(crate) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateError> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| CertificateError::Unreadable { detail: error.to_string() })?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(CertificateError::Unreadable { detail: "bytes follow it".to_owned() })
    }
}

fn names_in(names: &[GeneralName<'_>]) -> Vec<String> {
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        _ => None,
    });
    dns.collect()
}

fn addresses_in(names: &[GeneralName<'_>]) -> Vec<IpAddr> {
    let address = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    };
    let found = names.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    found.collect()
}

struct Owner {
    cluster: Option<ClusterId>,
    node: Option<NodeId>,
    region: Option<String>,
    role: Role,
}

/// Whom the names mean. Where there is a URI, it alone counts, and it must be the only one.
fn owner(names: &[GeneralName<'_>]) -> Option<Owner> {
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    if let Some(uri) = uris.next() {
        return if uris.next().is_none() { from_uri(uri) } else { None };
    }
    let from_dns: Vec<Owner> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => from_dns(dns),
            _ => None,
        })
        .collect();
    // A certificate for two regions is for none: nobody could say which was meant.
    let region = from_dns.first()?.region.clone();
    if from_dns.iter().any(|owner| owner.region != region) {
        return None;
    }
    let server = from_dns.iter().any(|owner| owner.role == Role::Server);
    let role = if server { Role::Server } else { Role::Worker };
    Some(Owner { cluster: None, node: None, region, role })
}

pub(crate) fn uri(cluster: ClusterId, role: Role, node: NodeId) -> String {
    format!("spiffe://{cluster}/{role}/{node}")
}

fn from_uri(text: &str) -> Option<Owner> {
    let mut parts = text.strip_prefix("spiffe://")?.split('/');
    let domain = parts.next()?;
    let role = match parts.next()? {
        "server" => Role::Server,
        "worker" => Role::Worker,
        _ => return None,
    };
    let node: NodeId = parts.next()?.parse().ok()?;
    if let Some(region) = domain.strip_suffix(".herder") {
        let whole = crate::is_region(region) && crate::leaf::region_uri(region, role, node) == text;
        return whole.then(|| Owner {
            cluster: None,
            node: Some(node),
            region: Some(region.to_owned()),
            role,
        });
    }
    let cluster: ClusterId = domain.parse().ok()?;
    // Only the one way to write it: a UUID has many.
    (uri(cluster, role, node) == text).then_some(Owner {
        cluster: Some(cluster),
        node: Some(node),
        region: None,
        role,
    })
}

fn from_dns(name: &str) -> Option<Owner> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".herder").or_else(|| name.strip_suffix(".nomad"))?;
    let (role, region) = name.split_once('.')?;
    let role = match role {
        "server" => Role::Server,
        "client" => Role::Worker,
        _ => return None,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!region.is_empty() && region.chars().all(plain)).then(|| Owner {
        cluster: None,
        node: None,
        region: Some(region.to_owned()),
        role,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5b2f1b1e-8f7a-4d0e-9c5a-2f6a1c3d4e5f";

    fn of(names: &[GeneralName<'_>]) -> Option<(Role, bool, Option<String>)> {
        owner(names).map(|owner| (owner.role, owner.node.is_some(), owner.region))
    }

    #[test]
    fn a_uri_names_cluster_role_and_node() {
        let uri = |text: &'static str| of(&[GeneralName::URI(text)]);
        let text = format!("spiffe://{ID}/server/{ID}");
        assert_eq!(of(&[GeneralName::URI(&text)]), Some((Role::Server, true, None)));
        assert_eq!(uri("spiffe://x/server/y"), None);
        assert_eq!(uri("https://example.org/"), None);
        let own = format!("spiffe://global.herder/worker/{ID}");
        let global = Some("global".to_owned());
        assert_eq!(of(&[GeneralName::URI(&own)]), Some((Role::Worker, true, global)));
        for wrong in ["a.b.herder", "Global.herder", ".herder", "global"] {
            let wrong = format!("spiffe://{wrong}/worker/{ID}");
            assert_eq!(of(&[GeneralName::URI(&wrong)]), None, "{wrong}");
        }
        for wrong in [
            format!("spiffe://{ID}/admin/{ID}"),
            format!("spiffe://{ID}/server/{ID}/more"),
            format!("spiffe://{}/server/{ID}", ID.to_uppercase()),
            format!("spiffe://{ID}/server/{}", ID.replace('-', "")),
        ] {
            assert_eq!(of(&[GeneralName::URI(&wrong)]), None, "{wrong}");
        }
    }

    #[test]
    fn a_uri_alone_counts_and_there_is_one() {
        let worker = format!("spiffe://{ID}/worker/{ID}");
        let server = format!("spiffe://{ID}/server/{ID}");
        let dns = GeneralName::DNSName("server.global.herder");
        assert_eq!(
            of(&[dns.clone(), GeneralName::URI(&worker)]),
            Some((Role::Worker, true, None)),
            "a granted DNS name makes no server of a worker"
        );
        assert_eq!(of(&[GeneralName::URI(&worker), GeneralName::URI(&server)]), None);
        assert_eq!(of(&[GeneralName::URI("urn:x"), dns]), None);
    }

    #[test]
    fn dns_names_tell_role_and_region() {
        let dns = |text: &'static str| of(&[GeneralName::DNSName(text)]);
        let region = || Some("global".to_owned());
        assert_eq!(dns("server.global.herder"), Some((Role::Server, false, region())));
        assert_eq!(dns("Client.Global.nomad"), Some((Role::Worker, false, region())));
        assert_eq!(dns("server.herder"), None);
        assert_eq!(dns("server.a.b.herder"), None);
        assert_eq!(dns("evil-server.global.herder"), None);
        assert_eq!(dns("server.global.herder.example.org"), None);
        assert_eq!(
            of(&[GeneralName::DNSName("server.a.herder"), GeneralName::DNSName("client.b.herder")]),
            None
        );
    }
}
