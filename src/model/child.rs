//! Jobs that come of other jobs: one for each time that a periodic job starts and each dispatch of a parameterized one.

use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{JobId, Timestamp};

/// What makes a job a child of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Child {
    /// The job that it came of.
    pub parent: JobId,
    /// Whether a dispatch made it, and not a time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dispatched: bool,
    /// What a repeated dispatch gives so that it finds this child again; empty where nothing was given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub idempotency_token: String,
    /// The time that it is the run of: as scheduled, or when it was asked for.
    pub run_of: Timestamp,
}

/// What a dispatch hands over for its tasks. It may be anybody's secret: it is written where it belongs, in base64, and
/// never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// The longest, in bytes.
    pub const LIMIT: usize = 16 << 10;
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(from)?.unwrap_or_default();
        // Not the text itself: an error is shown.
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("a payload is written in base64"))
    }
}

/// The two ways to a child, as its ID names them.
const PERIODIC: &str = "periodic-";
const DISPATCH: &str = "dispatch-";

impl JobId {
    /// The child that runs at a time.
    #[must_use]
    pub fn periodic_child(&self, at: Timestamp) -> Self {
        Self::from(format!("{self}/{PERIODIC}{}", at.whole_seconds()))
    }

    /// The child of a dispatch. `prefix` may be empty; `chance` keeps those of one second apart.
    #[must_use]
    pub fn dispatch_child(&self, prefix: &str, at: Timestamp, chance: u32) -> Self {
        let dash = if prefix.is_empty() { "" } else { "-" };
        let second = at.whole_seconds();
        Self::from(format!("{self}/{DISPATCH}{prefix}{dash}{second}-{chance:08x}"))
    }

    /// The job that it came of, if this is a child's ID. No file may declare a job of such a name.
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.as_str().rsplit_once('/')?;
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_child = name.strip_prefix(PERIODIC).is_some_and(digits)
            || name.strip_prefix(DISPATCH).is_some_and(|name| {
                let Some((head, chance)) = name.rsplit_once('-') else { return false };
                let second = head.rsplit_once('-').map_or(head, |(_, second)| second);
                digits(second)
                    && chance.len() == 8
                    && chance.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            });
        (is_child && !parent.is_empty()).then(|| Self::from(parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_name_says_whose_it_is() {
        let job = JobId::from("a/b");
        let at = Timestamp::from_secs(1_700_000_000);
        let children = [
            (job.periodic_child(at), "a/b/periodic-1700000000"),
            (job.dispatch_child("", at, 0xab), "a/b/dispatch-1700000000-000000ab"),
            (job.dispatch_child("x-1", at, 7), "a/b/dispatch-x-1-1700000000-00000007"),
        ];
        for (child, name) in children {
            assert_eq!(child.as_str(), name);
            assert_eq!(child.parent(), Some(job.clone()));
        }
        for name in ["a", "a/b", "a/periodic-", "a/periodic-x", "periodic-1", "/periodic-1"] {
            assert_eq!(JobId::from(name).parent(), None, "{name}");
        }
        for name in ["a/dispatch-1", "a/dispatch-x-0000000a", "a/dispatch-1-0000000g"] {
            assert_eq!(JobId::from(name).parent(), None, "{name}");
        }
    }

    #[test]
    fn a_payload_is_written_and_not_shown() {
        let payload = Payload::from(b"hunter2".to_vec());
        let text = serde_json::to_string(&payload).expect("is written");
        assert_eq!(text, "\"aHVudGVyMg==\"");
        assert_eq!(serde_json::from_str::<Payload>(&text).expect("is read"), payload);
        assert!(serde_json::from_str::<Payload>("null").expect("is read").is_empty());
        assert_eq!(format!("{payload:?}"), "Payload(7 bytes)");
        let error = serde_json::from_str::<Payload>("\"hunter2!\"").expect_err("not base64");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}
