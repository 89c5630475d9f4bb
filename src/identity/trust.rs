//! Whose certificates are believed.

use std::sync::Arc;

use model::Timestamp;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;

use crate::clock::unix_time;
use crate::peer::Peer;
use crate::{CertificateError, ClusterId, pem, tls};

/// The authority that is believed, and what its certificates must be for.
#[derive(Clone, Debug)]
pub struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    whom: Whom,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Cluster(ClusterId),
    Region(String),
}

impl Trust {
    /// The cluster's own authority: certificates must be for this cluster and name a node.
    ///
    /// # Errors
    /// When the PEM text holds no certificate of an authority.
    pub fn cluster(authority: &str, cluster: ClusterId) -> Result<Self, CertificateError> {
        Self::new(pem::certificates(authority)?, Whom::Cluster(cluster))
    }

    /// An authority of the user's own (or several): certificates must have a DNS name `server.<region>.herder` or
    /// `client.<region>.herder` (`.nomad` too).
    ///
    /// # Errors
    /// When the PEM text holds no certificate of an authority.
    pub fn region(authorities: &str, region: &str) -> Result<Self, CertificateError> {
        Self::new(pem::certificates(authorities)?, Whom::Region(region.to_ascii_lowercase()))
    }

    /// One certificate that is known by its fingerprint.
    pub(crate) fn pinned(
        authority: CertificateDer<'static>,
        cluster: ClusterId,
    ) -> Result<Self, CertificateError> {
        Self::new(vec![authority], Whom::Cluster(cluster))
    }

    fn new(
        authorities: Vec<CertificateDer<'static>>,
        whom: Whom,
    ) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            if !crate::peer::parse(authority)?.is_ca() {
                return Err(CertificateError::NoAuthority);
            }
            roots
                .add(authority.clone())
                .map_err(|error| CertificateError::Unreadable { detail: error.to_string() })?;
        }
        Ok(Self { authorities, roots: Arc::new(roots), whom })
    }

    pub(crate) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// Reads whom a certificate names, and refuses it when that is nobody of ours.
    pub(crate) fn read(&self, leaf: &CertificateDer<'_>) -> Result<Peer, CertificateError> {
        let peer = Peer::from_der(leaf)?;
        let (ours, expected) = match &self.whom {
            Whom::Cluster(cluster) => {
                (peer.cluster == Some(*cluster), format!("a member of cluster {cluster}"))
            }
            Whom::Region(region) => {
                (peer.region.as_ref() == Some(region), format!("a member of region {region}"))
            }
        };
        if ours {
            Ok(peer)
        } else {
            Err(CertificateError::Stranger { found: peer.to_string(), expected })
        }
    }

    /// Checks the chain as a server's (certificates that are issued here are good for both sides).
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, rustls::Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = tls::provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            between,
            now,
            algorithms.all,
        )?;
        self.read(leaf).map_err(tls::refusal)
    }

    /// Whether a chain of one's own would be believed by others now.
    pub(crate) fn verify_own(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Peer, CertificateError> {
        let (leaf, between) = chain.split_first().ok_or(CertificateError::Nameless)?;
        self.verify(leaf, between, unix_time(now))
            .map_err(|error| CertificateError::Unaccepted { detail: tls::explain(&error) })
    }
}
