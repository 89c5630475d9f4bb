//! The server's clock: whoever proposes a command stamps it with this.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// Now, by the system's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
