//! Identifiers. Each is its own type, so that one cannot be handed over for another.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that is not the identifier it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The first eight digits, which people read and type.
            pub fn short(&self) -> String {
                self.0.simple().to_string()[..8].to_owned()
            }

            /// The UUID itself.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| IdError { text: text.to_owned(), expected: $what })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it names nothing.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self(Arc::from(""))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

uuid_id!(
    /// One placement of a group on a node.
    AllocId,
    "an allocation ID (a UUID)"
);
uuid_id!(
    /// A machine, for as long as its data directory lives.
    NodeId,
    "a node ID (a UUID)"
);
uuid_id!(
    /// One rollout of one job version.
    DeploymentId,
    "a deployment ID (a UUID)"
);
uuid_id!(
    /// One pass of the evaluator over one job.
    EvalId,
    "an evaluation ID (a UUID)"
);
text_id!(
    /// A job's ID, as its file names it.
    JobId
);
text_id!(
    /// A Git commit: forty hexadecimal digits.
    CommitId
);
text_id!(
    /// A Git blob, which identifies a file's bytes.
    BlobId
);
text_id!(
    /// SHA-256 over a job's canonical form, in hexadecimal. Equal jobs have equal hashes, whatever their files look
    /// like.
    SpecHash
);

impl CommitId {
    /// The first eight digits, which people read and type. A name that is no object ID stays whole.
    pub fn short(&self) -> &str {
        let id = self.as_str();
        if id.bytes().all(|byte| byte.is_ascii_hexdigit()) { id.get(..8).unwrap_or(id) } else { id }
    }
}

/// A UUID that follows from `parts` alone, so that the same inputs name the same thing on every replica and in every
/// replay (RFC 9562 version 8). Parts are length-prefixed: `["ab", "c"]` and `["a", "bc"]` differ.
pub fn seeded_uuid(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_uuids_follow_from_their_parts() {
        assert_eq!(seeded_uuid(&[b"a", b"b"]), seeded_uuid(&[b"a", b"b"]));
        assert_ne!(seeded_uuid(&[b"ab", b"c"]), seeded_uuid(&[b"a", b"bc"]));
    }

    #[test]
    fn ids_survive_json() {
        let id = AllocId::new(seeded_uuid(&[b"x"]));
        let text = serde_json::to_string(&id).expect("serialises");
        assert_eq!(serde_json::from_str::<AllocId>(&text).expect("parses"), id);
        assert!(serde_json::from_str::<AllocId>("\"nonsense\"").is_err());
    }
}
