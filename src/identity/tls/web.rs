//! HTTP for people and programs: the same certificate as between agents, shown to callers that mostly have none.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::{VERSIONS, provider};
use crate::{CertificateError, Clock, Credentials};

/// How HTTP is answered over TLS. What is replaced in the credentials is shown from the next handshake on.
#[derive(Clone, Debug)]
pub struct WebTls(Arc<ServerConfig>);

impl WebTls {
    /// With these credentials. With `certified`, callers must show a certificate of the authority that the credentials
    /// trust, whatever it is for: an agent's, or a person's.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn new(
        credentials: &Credentials,
        certified: bool,
        clock: Clock,
    ) -> Result<Self, CertificateError> {
        let unaccepted = |detail: String| CertificateError::Unaccepted { detail };
        let builder = ServerConfig::builder_with_details(provider().clone(), Arc::new(clock))
            .with_protocol_versions(VERSIONS)
            .map_err(|error| unaccepted(error.to_string()))?;
        let builder = if certified {
            let roots = credentials.trust().roots();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider().clone())
                .build()
                .map_err(|error| unaccepted(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(credentials.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed connection would skip the look at the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// For the TLS library.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}
