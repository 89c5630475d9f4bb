//! The side that calls.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{ALPN, VERSIONS, provider, refusal};
use crate::{
    CertificateError, Clock, ClusterId, Credentials, Fingerprint, JoinToken, Peer, Role, Trust,
};

/// How connections are made: to whatever address, the other end must be a server of the fleet. Names and addresses are
/// not looked at; a node may change its own.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    credentials: Option<Credentials>,
}

impl ClientTls {
    /// With these credentials, whose trust says who may answer.
    ///
    /// # Errors
    /// When the library refuses the configuration.
    pub fn new(credentials: &Credentials, clock: Clock) -> Result<Self, CertificateError> {
        let known = Known::Trust(credentials.trust().clone());
        Self::build(known, Some(credentials.clone()), clock)
    }

    /// The same, where any node may answer and not only a server: for what is asked of a node about itself.
    ///
    /// # Errors
    /// When the library refuses the configuration.
    pub fn to_any_node(credentials: &Credentials, clock: Clock) -> Result<Self, CertificateError> {
        let known = Known::Anybody(credentials.trust().clone());
        Self::build(known, Some(credentials.clone()), clock)
    }

    /// For a machine that has only a join token: the other end must show the authority of the token's fingerprint, and
    /// a server's certificate signed by it. Nothing is shown of oneself.
    ///
    /// # Errors
    /// When the library refuses the configuration.
    pub fn for_joining(token: &JoinToken, clock: Clock) -> Result<Self, CertificateError> {
        let known = Known::Pinned { authority: token.authority(), cluster: token.cluster() };
        Self::build(known, None, clock)
    }

    fn build(
        known: Known,
        credentials: Option<Credentials>,
        clock: Clock,
    ) -> Result<Self, CertificateError> {
        let builder = ClientConfig::builder_with_details(provider().clone(), Arc::new(clock))
            .with_protocol_versions(VERSIONS)
            .map_err(|error| CertificateError::Unaccepted { detail: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier(known)));
        let mut config = match credentials.clone() {
            Some(credentials) => builder.with_client_cert_resolver(Arc::new(credentials)),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        // The name below is nobody's business.
        config.enable_sni = false;
        Ok(Self { config: Arc::new(config), credentials })
    }

    /// For the TLS library.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The number of the certificate that a connection made now shows; it changes with a renewal.
    pub fn serial(&self) -> Option<Arc<str>> {
        self.credentials.as_ref().and_then(Credentials::serial)
    }

    /// The name that the library wants to have for a server; it is neither sent nor checked.
    pub fn server_name() -> ServerName<'static> {
        ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into())
    }
}

#[derive(Debug)]
enum Known {
    Trust(Trust),
    Anybody(Trust),
    Pinned { authority: Fingerprint, cluster: ClusterId },
}

/// Verifies the chain and the role. Host names are not checked: that an address answers proves nothing here, the key
/// does.
#[derive(Debug)]
struct ServerVerifier(Known);

impl ServerVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, rustls::Error> {
        match &self.0 {
            Known::Trust(trust) | Known::Anybody(trust) => trust.verify(leaf, between, now),
            Known::Pinned { authority, cluster } => {
                let shown = between.iter().find(|shown| Fingerprint::of(shown) == *authority);
                let Some(shown) = shown else {
                    return Err(refusal(CertificateError::OtherAuthority {
                        expected: authority.to_string(),
                    }));
                };
                let trust = Trust::pinned(shown.clone().into_owned(), *cluster).map_err(refusal)?;
                trust.verify(leaf, between, now)
            }
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let peer = self.verify(leaf, between, now)?;
        if peer.role == Role::Server || matches!(self.0, Known::Anybody(_)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refusal(CertificateError::Stranger {
                found: peer.to_string(),
                expected: "a server".to_owned(),
            }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
