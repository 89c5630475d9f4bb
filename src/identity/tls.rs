//! TLS configurations for the port on which agents speak with each other, and for HTTP.
//!
//! TLS 1.3 only, with one provider of cryptography that is always named and never a process-wide default. Nothing is
//! resumed: each handshake looks at the certificates as they are now.

mod client;
mod credentials;
mod explain;
mod server;
mod web;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

pub use client::ClientTls;
pub use credentials::Credentials;
pub use explain::{explain, is_our_certificate_refused};
pub use server::ServerTls;
pub use web::WebTls;

use crate::CertificateError;

/// The protocol's name in the handshake.
pub const ALPN: &[u8] = b"herder/1";

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Where all cryptography comes from.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// A refusal of ours, in the words of TLS.
pub(crate) fn refusal(error: CertificateError) -> rustls::Error {
    let error = rustls::OtherError(Arc::new(error));
    rustls::Error::InvalidCertificate(rustls::CertificateError::Other(error))
}

#[cfg(test)]
mod tests;
