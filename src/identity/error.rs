//! What can be wrong with certificates, keys and tokens.

use thiserror::Error;

/// Why a key or a certificate cannot be used, or none can be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The text is not what it should be.
    #[error("this is not {expected} in PEM form")]
    NotPem {
        /// What was looked for.
        expected: &'static str,
    },
    /// The text is longer than any key or certificate.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The bytes cannot be read as a certificate.
    #[error("the certificate cannot be read: {detail}")]
    Unreadable {
        /// What the parser says.
        detail: String,
    },
    /// The certificate does not say who it is for in a form that Herder knows.
    #[error(
        "the certificate names no member of a fleet: it needs one URI `spiffe://<cluster>/server/<node>` or \
         `…/worker/<node>`, or a DNS name `server.<region>.herder` or `client.<region>.herder`"
    )]
    Nameless,
    /// The certificate is for somebody else.
    #[error("the certificate is for {found}, and {expected} is wanted here")]
    Stranger {
        /// Whom it names.
        found: String,
        /// Who is wanted.
        expected: String,
    },
    /// The certificate was not signed by the authority, is expired, or may not be used for this.
    #[error("the certificate is not accepted: {detail}")]
    Unaccepted {
        /// What the check says.
        detail: String,
    },
    /// Another authority than the one that a join token names.
    #[error(
        "it was certified by an authority that the join token does not name: it is of another cluster, or an impostor \
         (the token names {expected})"
    )]
    OtherAuthority {
        /// The token's fingerprint.
        expected: String,
    },
    /// Not the certificate of an authority.
    #[error("the certificate is none of an authority: it may not sign others")]
    NoAuthority,
    /// The authority itself has ended.
    #[error("the authority's own certificate has expired; nothing can be signed with it")]
    AuthorityExpired,
    /// Key and certificate do not belong together.
    #[error("the key does not belong to the certificate")]
    OtherKey,
    /// The key is of a kind that is not used here.
    #[error("the key is neither ECDSA (P-256, P-384) nor Ed25519")]
    KeyKind,
    /// The request is damaged, or whoever made it has not got the key.
    #[error("the certificate request does not prove that its sender has the key: {detail}")]
    Unproven {
        /// What the check says.
        detail: String,
    },
    /// What was granted cannot be written into a certificate.
    #[error("a certificate cannot be made: {detail}")]
    Unmakeable {
        /// Why.
        detail: String,
    },
}

/// Why a join token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It does not begin as one.
    #[error("this is no join token: it does not begin with `herder-join-1.`")]
    Prefix,
    /// It is one of a later version.
    #[error("this join token was made by a newer version of Herder")]
    Version,
    /// Longer than any token.
    #[error("this is no join token: it is longer than one")]
    TooLong,
    /// A character was lost or changed on the way.
    #[error("the join token is damaged: copy it again, whole, from `herder token join`")]
    Damaged,
    /// It was good once.
    #[error("the join token expired {ago} ago; make a new one with `herder token join`")]
    Expired {
        /// How long ago, in words.
        ago: String,
    },
}
