//! What an agent shows of itself: its certificate and key, replaceable while connections are open.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use model::Timestamp;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::{CertificateError, NodeKey, Peer, Trust, pem, tls};

/// An agent's certificate and key. Clones are one: what is replaced in one is replaced in all, and new handshakes show
/// the new certificate while open connections go on.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    trust: Trust,
    held: ArcSwapOption<Held>,
}

struct Held {
    key: Arc<CertifiedKey>,
    peer: Peer,
    serial: Arc<str>,
}

impl Credentials {
    /// None yet. A client without shows no certificate; a server without ends each handshake.
    pub fn empty(trust: Trust) -> Self {
        Self(Arc::new(Inner { trust, held: ArcSwapOption::empty() }))
    }

    /// A certificate (PEM, with those between it and the authority if there are any) and its key.
    ///
    /// # Errors
    /// As [`Credentials::replace`].
    pub fn new(
        trust: Trust,
        certificate: &str,
        key: &NodeKey,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let credentials = Self::empty(trust);
        credentials.replace(certificate, key, now)?;
        Ok(credentials)
    }

    /// Takes a new certificate. One that others would not believe is refused, and the old one stays.
    ///
    /// # Errors
    /// When key and certificate do not belong together, the authority did not sign it, or it is not good now.
    pub fn replace(
        &self,
        certificate: &str,
        key: &NodeKey,
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        let mut chain = pem::certificates(certificate)?;
        let peer = self.0.trust.verify_own(&chain, now)?;
        // Whoever joins knows the authority by its fingerprint only, and has to be shown it.
        for authority in self.0.trust.authorities() {
            if !chain.contains(authority) {
                chain.push(authority.clone());
            }
        }
        let key = certified(chain, key)?;
        let serial = Arc::from(peer.serial.as_str());
        self.0.held.store(Some(Arc::new(Held { key: Arc::new(key), peer, serial })));
        Ok(())
    }

    /// Whom the certificate names.
    pub fn peer(&self) -> Option<Peer> {
        self.0.held.load().as_ref().map(|held| held.peer.clone())
    }

    pub(super) fn serial(&self) -> Option<Arc<str>> {
        self.0.held.load().as_ref().map(|held| Arc::clone(&held.serial))
    }

    /// Who is believed.
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.0.held.load().as_ref().map(|held| Arc::clone(&held.key))
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &NodeKey,
) -> Result<CertifiedKey, CertificateError> {
    CertifiedKey::from_der(chain, key.private(), tls::provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertificateError::OtherKey,
        other => CertificateError::Unaccepted { detail: other.to_string() },
    })
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer() {
            Some(peer) => write!(f, "Credentials({peer})"),
            None => f.write_str("Credentials(none)"),
        }
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key()
    }

    fn has_certs(&self) -> bool {
        self.0.held.load().is_some()
    }
}
