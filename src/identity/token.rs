//! The join token: one line that lets one machine, or some, into the cluster for a while.
//!
//! It holds what a newcomer needs to know the right cluster by (the authority's fingerprint) and what the cluster needs
//! to know the newcomer by (a secret). The cluster keeps only the secret's hash.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::seconds;
use crate::{CertificateError, ClusterId, Fingerprint, SecretText, TokenError};

const PREFIX: &str = "herder-join-1.";
/// What tokens of every version begin with.
const FAMILY: &str = "herder-join-";
/// Cluster, authority, token, secret, expiry.
const PAYLOAD: usize = 16 + 32 + 16 + 32 + 8;
const CHECKSUM: usize = 4;
/// No token is longer, with what white space may have come with it.
const LONGEST: usize = 1024;

/// Names a token; no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Uuid);

impl TokenId {
    /// Wraps a UUID.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID itself.
    pub const fn uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// SHA-256 over a token's secret: what the cluster keeps of it. The secret has 256 random bits, so that the hash gives
/// nothing away.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Wraps a hash.
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash, to be kept.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash of a secret]")
    }
}

/// A join token.
#[derive(Clone)]
pub struct JoinToken {
    cluster: ClusterId,
    authority: Fingerprint,
    id: TokenId,
    secret: Zeroizing<[u8; 32]>,
    expires: Timestamp,
}

impl JoinToken {
    /// Makes a new one for the cluster whose authority has this fingerprint. It is good until `expires`, whole seconds.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn create(
        cluster: ClusterId,
        authority: Fingerprint,
        expires: Timestamp,
    ) -> Result<Self, CertificateError> {
        let mut secret = Zeroizing::new([0; 32]);
        crate::tls::provider().secure_random.fill(&mut *secret).map_err(|_| {
            CertificateError::Unmakeable { detail: "the system gives no randomness".to_owned() }
        })?;
        let expires = Timestamp::from_secs(seconds(expires));
        Ok(Self { cluster, authority, id: TokenId(Uuid::new_v4()), secret, expires })
    }

    /// The token as one line, for whoever is to join. White space around it does no harm, nor does a URL.
    pub fn to_text(&self) -> SecretText {
        let mut bytes = Zeroizing::new(Vec::with_capacity(PAYLOAD + CHECKSUM));
        bytes.extend_from_slice(self.cluster.uuid().as_bytes());
        bytes.extend_from_slice(self.authority.as_bytes());
        bytes.extend_from_slice(self.id.0.as_bytes());
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&seconds(self.expires).to_be_bytes());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let mut text = String::with_capacity(PREFIX.len() + (PAYLOAD + CHECKSUM) * 4 / 3 + 4);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        SecretText::new(text)
    }

    /// Reads a token, expired or not.
    ///
    /// # Errors
    /// When it is none, or was damaged on the way. No error holds any of the text.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if !text.starts_with(FAMILY) {
            return Err(TokenError::Prefix);
        }
        if text.len() > LONGEST {
            return Err(TokenError::TooLong);
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let version = text.trim_start_matches(FAMILY).split('.').next().unwrap_or_default();
            let later = version.parse::<u32>().is_ok_and(|version| version > 1);
            return Err(if later { TokenError::Version } else { TokenError::Prefix });
        };
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Damaged)?;
        let bytes = Zeroizing::new(bytes);
        let (payload, sum) = bytes.split_at_checked(PAYLOAD).ok_or(TokenError::Damaged)?;
        if sum != checksum(payload) {
            return Err(TokenError::Damaged);
        }
        let mut rest = payload;
        Ok(Self {
            cluster: ClusterId::new(Uuid::from_bytes(take(&mut rest)?)),
            authority: Fingerprint::new(take(&mut rest)?),
            id: TokenId(Uuid::from_bytes(take(&mut rest)?)),
            secret: Zeroizing::new(take(&mut rest)?),
            expires: Timestamp::from_secs(i64::from_be_bytes(take(&mut rest)?)),
        })
    }

    /// Whether the token is still good.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, now: Timestamp) -> Result<(), TokenError> {
        if now < self.expires {
            return Ok(());
        }
        let ago = Duration::from_secs(now.since(self.expires).as_secs());
        Err(TokenError::Expired { ago: model::format_duration(ago).to_string() })
    }

    /// The cluster that it is for.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// By which certificate to know the cluster's authority.
    pub fn authority(&self) -> Fingerprint {
        self.authority
    }

    /// Its name in the cluster's list.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Until when it is good.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// What the cluster keeps of the secret, and compares.
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.secret.as_slice()).into())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &self.cluster)
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = Sha256::new();
    hash.update(PREFIX);
    hash.update(payload);
    let hash = hash.finalize();
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hash[..CHECKSUM]);
    sum
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TokenError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(TokenError::Damaged)?;
    *rest = after;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        let authority = Fingerprint::of(b"authority");
        JoinToken::create(ClusterId::new(Uuid::new_v4()), authority, Timestamp::from_secs(1000))
            .expect("randomness")
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = token();
        let text = token.to_text();
        let line = text.reveal();
        assert!(line.starts_with(PREFIX) && !line.contains(char::is_whitespace), "{}", line.len());
        assert!(line.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        let back = JoinToken::parse(&format!(" {line}\n")).expect("parses");
        assert_eq!(
            (back.cluster(), back.authority(), back.id(), back.expires()),
            (token.cluster(), token.authority(), token.id(), token.expires())
        );
        assert!(back.secret_hash().matches(&token.secret_hash()));
        assert!(!back.secret_hash().matches(&self::token().secret_hash()));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let text = token().to_text().reveal().to_owned();
        let error = |text: &str| JoinToken::parse(text).expect_err("refused");
        assert_eq!(error(""), TokenError::Prefix);
        assert_eq!(error("SWMTKN-1-abc"), TokenError::Prefix);
        assert_eq!(error("herder-join-x.abc"), TokenError::Prefix);
        assert_eq!(error(&text.replace("join-1", "join-2")), TokenError::Version);
        assert_eq!(error(&text[..text.len() - 1]), TokenError::Damaged);
        assert_eq!(error(PREFIX), TokenError::Damaged);
        assert_eq!(error(&format!("{text}{}", "a".repeat(LONGEST))), TokenError::TooLong);
    }

    #[test]
    fn a_token_ends() {
        let token = token();
        assert_eq!(token.check(Timestamp::from_secs(999)), Ok(()));
        let late = token.check(Timestamp::from_secs(1060)).expect_err("expired");
        assert_eq!(late, TokenError::Expired { ago: "1m".to_owned() });
    }

    #[test]
    fn the_secret_is_not_shown() {
        let token = token();
        let text = token.to_text();
        let shown = format!("{token:?} {text:?} {:?}", token.secret_hash());
        assert!(shown.contains(&token.id().to_string()));
        let secret = text.reveal().trim_start_matches(PREFIX);
        assert!(!shown.contains(&secret[80..120]), "{shown}");
        for window in token.secret.windows(3) {
            let decimal = format!("{}, {}, {}", window[0], window[1], window[2]);
            assert!(!shown.contains(&decimal), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn any_changed_character_is_found(at in 0_usize..200, with in "[A-Za-z0-9_-]") {
            let text = token().to_text().reveal().to_owned();
            let at = PREFIX.len() + at % (text.len() - PREFIX.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            if changed != text {
                prop_assert_eq!(JoinToken::parse(&changed).expect_err("refused"), TokenError::Damaged);
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "(herder-join-1\\.)?.{0,300}") {
            let _ = JoinToken::parse(&text);
        }
    }
}
