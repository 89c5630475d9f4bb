//! Text that many say alike.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Text that many say alike, so that it can be kept once for all of them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(Arc<str>);

impl Words {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives up its own copy where `other` says the same.
    pub fn share(&mut self, other: &Self) {
        if !Arc::ptr_eq(&self.0, &other.0) && self == other {
            self.0 = Arc::clone(&other.0);
        }
    }
}

impl Deref for Words {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Words {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Words {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_is_shared() {
        let (mut own, other) = (Words::from("Started"), Words::from("Started"));
        own.share(&other);
        assert!(Arc::ptr_eq(&own.0, &other.0));
        own.share(&Words::from("Killed"));
        assert_eq!(own, "Started");
    }
}
