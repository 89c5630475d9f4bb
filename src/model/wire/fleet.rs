//! The fleet, for those who run it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Asks for a join token (`POST /v1/operator/join-tokens`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JoinTokenRequest {
    /// For how long it is to be good, such as `1h`; an hour if empty.
    #[serde(rename = "TTL")]
    pub ttl: String,
}

/// A new join token. The only time that it is shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NewJoinToken {
    /// Its name in the list.
    #[serde(rename = "ID")]
    pub id: String,
    /// The line that a new machine needs.
    pub token: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// The token lets machines in, so it is not shown by accident.
impl std::fmt::Debug for NewJoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewJoinToken")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A join token in the list, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JoinTokenStub {
    /// Its name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}
