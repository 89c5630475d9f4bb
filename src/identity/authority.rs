//! The cluster's certificate authority.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use model::{NodeId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::seconds;
use crate::peer::{parse, uri};
use crate::{
    Bearer, CertificateError, ClusterId, Fingerprint, Leaf, NodeKey, Role, SecretText, pem,
};

/// How long a node's certificate lives unless somebody says otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(72 * 3600);
/// How long an authority lives.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600 + 3 * 24 * 3600);
/// Certificates are good from a little before now, for machines whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Shortest life of a certificate that makes sense.
const SHORTEST: Duration = Duration::from_secs(1);
/// Most names and addresses in one certificate.
const MAX_NAMES: usize = 64;

/// What the signer says of whoever asked. Nothing of a certificate comes from anywhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// What the node may be.
    pub role: Role,
    /// DNS names under which it is reached by others than agents (agents do not look at names).
    pub names: Vec<String>,
    /// Addresses, likewise.
    pub addresses: Vec<IpAddr>,
}

/// A key that signs certificates, with the certificate that says so.
pub struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
}

impl Authority {
    /// Makes a new one for a cluster, good for ten years from `now`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn create(cluster: ClusterId, now: Timestamp) -> Result<Self, CertificateError> {
        Self::create_named(&format!("Herder {cluster}"), now, AUTHORITY_LIFETIME)
    }

    /// Makes a new one of the user's own, with a name for people.
    ///
    /// # Errors
    /// When the system gives no randomness, or the end is further away than a certificate can say.
    pub fn create_named(
        name: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Self, CertificateError> {
        let key = NodeKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.to_owned());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        params.not_before = date(seconds(now) - seconds_of(BACKDATE))?;
        params.not_after = date(seconds(now) + seconds_of(lifetime.max(SHORTEST)))?;
        let certificate = params.self_signed(&key.0).map_err(unmakeable)?;
        Self::from_parts(certificate.der().clone(), key)
    }

    /// Reads one back, or takes the user's own: any certificate that may sign others, and its key (PKCS#8).
    ///
    /// # Errors
    /// When one of the texts is not what it should be, or they do not belong together.
    pub fn from_pem(certificate: &str, key: &SecretText) -> Result<Self, CertificateError> {
        let certificate = pem::certificates(certificate)?.swap_remove(0);
        Self::from_parts(certificate, NodeKey::from_pem(key.reveal())?)
    }

    fn from_parts(
        certificate: CertificateDer<'static>,
        key: NodeKey,
    ) -> Result<Self, CertificateError> {
        let parsed = parse(&certificate)?;
        let signs =
            parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !parsed.is_ca() || !signs {
            return Err(CertificateError::NoAuthority);
        }
        if Fingerprint::of(parsed.public_key().raw) != key.fingerprint() {
            return Err(CertificateError::OtherKey);
        }
        let not_after = Timestamp::from_secs(parsed.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(&certificate, key.0)
            .map_err(|error| CertificateError::Unreadable { detail: error.to_string() })?;
        Ok(Self { issuer, certificate, not_after })
    }

    /// The certificate, for everybody.
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate)
    }

    /// The key, for nobody but whoever keeps it.
    pub fn key_pem(&self) -> SecretText {
        SecretText::new(pem::encode("PRIVATE KEY", self.issuer.key().serialized_der()))
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// When it ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Signs a certificate (PEM) for the key that made `request`, with what `grant` says and nothing else. It begins
    /// five minutes before `now` and ends `lifetime` after it, or with the authority.
    ///
    /// # Errors
    /// When the request does not prove possession of its key, the key is of a kind that is not used, the grant's names
    /// are none, or the authority has ended.
    pub fn issue(
        &self,
        request: &str,
        grant: &Grant,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, CertificateError> {
        // It checks the signature that the request makes over itself.
        let request = CertificateSigningRequestParams::from_der(&pem::request(request)?)
            .map_err(|error| CertificateError::Unproven { detail: error.to_string() })?;
        let kind = request.public_key.algorithm();
        if ![&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].contains(&kind) {
            return Err(CertificateError::KeyKind);
        }
        let mut params = self.params(now, lifetime)?;
        params.distinguished_name = common_name(format!("{} {}", grant.role, grant.node));
        let uri = uri(grant.cluster, grant.role, grant.node);
        params.subject_alt_names = names(Some(uri), &grant.names, &grant.addresses)?;
        let certificate =
            params.signed_by(&request.public_key, &self.issuer).map_err(unmakeable)?;
        Ok(pem::encode("CERTIFICATE", certificate.der()))
    }

    /// Signs a certificate (PEM) for a key that was made beside the authority's, as an authority of the user's own does.
    ///
    /// # Errors
    /// When the names are none, or the authority has ended.
    pub fn issue_leaf(
        &self,
        key: &NodeKey,
        leaf: &Leaf,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, CertificateError> {
        let mut params = self.params(now, lifetime)?;
        params.distinguished_name = common_name(leaf.role_name());
        let all: Vec<String> =
            std::iter::once(leaf.role_name()).chain(leaf.names.iter().cloned()).collect();
        params.subject_alt_names = names(leaf.uri(), &all, &leaf.addresses)?;
        if leaf.bearer == Bearer::Person {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        let certificate = params.signed_by(&key.0, &self.issuer).map_err(unmakeable)?;
        Ok(pem::encode("CERTIFICATE", certificate.der()))
    }

    fn params(
        &self,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<CertificateParams, CertificateError> {
        if now >= self.not_after {
            return Err(CertificateError::AuthorityExpired);
        }
        let not_after = (now + lifetime.max(SHORTEST)).min(self.not_after);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        params.not_before = date(seconds(now) - seconds_of(BACKDATE))?;
        params.not_after = date(seconds(not_after))?;
        Ok(params)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

fn names(
    uri: Option<String>,
    dns: &[String],
    addresses: &[IpAddr],
) -> Result<Vec<SanType>, CertificateError> {
    if dns.len() + addresses.len() > MAX_NAMES {
        let detail = format!("more than {MAX_NAMES} names and addresses");
        return Err(CertificateError::Unmakeable { detail });
    }
    let mut names = Vec::with_capacity(1 + dns.len() + addresses.len());
    if let Some(uri) = uri {
        names.push(SanType::URI(uri.try_into().map_err(unmakeable)?));
    }
    for name in dns {
        // The rules of rustls for a name are those of whoever will check it.
        if rustls::pki_types::DnsName::try_from(name.as_str()).is_err() {
            let detail = format!("`{}` is no DNS name", name.escape_debug());
            return Err(CertificateError::Unmakeable { detail });
        }
        names.push(SanType::DnsName(name.as_str().try_into().map_err(unmakeable)?));
    }
    names.extend(addresses.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

fn common_name(name: String) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// 122 random bits, positive, never the same twice.
fn serial() -> SerialNumber {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn seconds_of(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn date(seconds: i64) -> Result<OffsetDateTime, CertificateError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertificateError::Unmakeable {
        detail: "the time is further away than a certificate can say".to_owned(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unmakeable(error: rcgen::Error) -> CertificateError {
    CertificateError::Unmakeable { detail: error.to_string() }
}

#[cfg(test)]
mod tests;
