//! PEM in and out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};

use crate::CertificateError;

/// Longest PEM text that is read: a chain of some certificates.
const MAX_PEM: usize = 64 * 1024;
/// Most certificates in one text.
const MAX_CERTIFICATES: usize = 16;

pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

fn limited<'a>(text: &'a str, what: &'static str) -> Result<&'a [u8], CertificateError> {
    if text.len() > MAX_PEM {
        return Err(CertificateError::TooLong { what, limit: MAX_PEM });
    }
    Ok(text.as_bytes())
}

/// All certificates of a text, in order; at least one.
pub(crate) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let not_pem = CertificateError::NotPem { expected: "a certificate" };
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(limited(text, "the certificate")?) {
        if found.len() == MAX_CERTIFICATES {
            return Err(CertificateError::TooLong { what: "the certificate", limit: MAX_PEM });
        }
        found.push(certificate.map_err(|_| not_pem.clone())?.into_owned());
    }
    if found.is_empty() { Err(not_pem) } else { Ok(found) }
}

/// A private key, in PKCS#8.
pub(crate) fn key(text: &str) -> Result<PrivatePkcs8KeyDer<'static>, CertificateError> {
    PrivatePkcs8KeyDer::from_pem_slice(limited(text, "the key")?)
        .map_err(|_| CertificateError::NotPem { expected: "a private key (PKCS#8; `openssl pkcs8 -topk8 -nocrypt` turns others into one)" })
}

/// A certificate request.
pub(crate) fn request(
    text: &str,
) -> Result<CertificateSigningRequestDer<'static>, CertificateError> {
    CertificateSigningRequestDer::from_pem_slice(limited(text, "the certificate request")?)
        .map_err(|_| CertificateError::NotPem { expected: "a certificate request" })
}
