//! The key pair of a node, which is its identity.

use std::fmt;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{CertificateError, Fingerprint, SecretText, pem};

/// A private key with its public half (ECDSA P-256).
pub struct NodeKey(pub(crate) KeyPair);

impl NodeKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, CertificateError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|error| CertificateError::Unmakeable { detail: error.to_string() })
    }

    /// Reads one back (PKCS#8; keys of other kinds than our own are taken too).
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let der = pem::key(text)?;
        KeyPair::try_from(&der)
            .map(Self)
            .map_err(|_| CertificateError::NotPem { expected: "a usable private key" })
    }

    /// The key in PKCS#8, to be kept where only its owner reads it.
    pub fn to_pem(&self) -> SecretText {
        SecretText::new(pem::encode("PRIVATE KEY", self.0.serialized_der()))
    }

    /// Names the public half: equal for equal keys, whatever the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.subject_public_key_info())
    }

    /// A certificate request (PKCS#10, PEM) that proves that its maker has the key, and asks for nothing: who the
    /// certificate is for is the signer's to say.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn request(&self) -> Result<String, CertificateError> {
        let mut nothing = CertificateParams::default();
        nothing.distinguished_name = rcgen::DistinguishedName::new();
        let request = nothing
            .serialize_request(&self.0)
            .map_err(|error| CertificateError::Unmakeable { detail: error.to_string() })?;
        Ok(pem::encode("CERTIFICATE REQUEST", request.der()))
    }

    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.serialize_der()))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.fingerprint())
    }
}
