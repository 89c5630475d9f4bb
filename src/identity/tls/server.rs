//! The side that is called.

use std::sync::Arc;

use model::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use super::{ALPN, VERSIONS, provider, refusal};
use crate::{CertificateError, Clock, Credentials, Peer, Role, Trust};

/// How connections are taken: a caller may show a certificate; one that does must be a member of the fleet.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    trust: Trust,
    clock: Clock,
    own: Credentials,
}

impl ServerTls {
    /// With these credentials, whose trust says who may call.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn new(credentials: &Credentials, clock: Clock) -> Result<Self, CertificateError> {
        let unaccepted = |detail: String| CertificateError::Unaccepted { detail };
        let trust = credentials.trust().clone();
        let chain = WebPkiClientVerifier::builder_with_provider(trust.roots(), provider().clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| unaccepted(error.to_string()))?;
        let verifier = Arc::new(MemberVerifier { chain, trust: trust.clone() });
        let mut config =
            ServerConfig::builder_with_details(provider().clone(), Arc::new(clock.clone()))
                .with_protocol_versions(VERSIONS)
                .map_err(|error| unaccepted(error.to_string()))?
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(Arc::new(credentials.clone()));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed connection would skip the look at the certificate.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), trust, clock, own: credentials.clone() })
    }

    /// For the TLS library.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Who is at the other end of a connection whose handshake is done: `None` without a certificate.
    ///
    /// # Errors
    /// When the certificate names nobody; the handshake would have failed already.
    pub fn peer(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Peer>, CertificateError> {
        chain.and_then(<[_]>::first).map(|leaf| self.trust.read(leaf)).transpose()
    }

    /// Whether our own certificate is a worker's. Servers that call us already, because we are to become one, do not
    /// accept it until it is renewed.
    pub fn shows_worker(&self) -> bool {
        self.own.peer().is_some_and(|peer| peer.role == Role::Worker)
    }

    /// The time by which certificates are judged.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The library's verifier, and after it a look at whom the certificate names.
#[derive(Debug)]
struct MemberVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trust: Trust,
}

impl ClientCertVerifier for MemberVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(leaf, between, now)?;
        self.trust.read(leaf).map_err(refusal)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
