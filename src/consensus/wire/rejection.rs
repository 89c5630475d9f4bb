//! A rejection on its way back to whoever proposed the command.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use state::Rejection;

/// Kinds of things that are told apart at most; the state knows less than ten.
const KINDS: usize = 64;

/// A [`Rejection`] whose texts are its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StoredRejection {
    StalePlan { basis: u64, newer: u64 },
    StaleRevision { expected: String, found: String },
    NotFound { what: String, id: String },
    Conflict(String),
}

impl From<Rejection> for StoredRejection {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::StalePlan { basis, newer } => Self::StalePlan { basis, newer },
            Rejection::StaleRevision { expected, found } => Self::StaleRevision { expected, found },
            Rejection::NotFound { what, id } => Self::NotFound { what: what.to_owned(), id },
            Rejection::Conflict(reason) => Self::Conflict(reason),
        }
    }
}

impl From<StoredRejection> for Rejection {
    fn from(stored: StoredRejection) -> Self {
        match stored {
            StoredRejection::StalePlan { basis, newer } => Self::StalePlan { basis, newer },
            StoredRejection::StaleRevision { expected, found } => {
                Self::StaleRevision { expected, found }
            }
            StoredRejection::NotFound { what, id } => Self::NotFound { what: kind(what), id },
            StoredRejection::Conflict(reason) => Self::Conflict(reason),
        }
    }
}

/// The word for a kind of thing, as the state holds it: for ever. The few that there are stay in memory once.
fn kind(what: String) -> &'static str {
    static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = seen.get(what.as_str()) {
        return known;
    }
    if seen.len() >= KINDS || what.len() > KINDS {
        return "thing";
    }
    let kept: &'static str = Box::leak(what.into_boxed_str());
    seen.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rejection_travels_whole() {
        let all = [
            Rejection::StalePlan { basis: 3, newer: 9 },
            Rejection::StaleRevision { expected: "a".to_owned(), found: "b".to_owned() },
            Rejection::NotFound { what: "allocation", id: "x".to_owned() },
            Rejection::Conflict("no".to_owned()),
        ];
        for rejection in all {
            let stored = StoredRejection::from(rejection.clone());
            let bytes = rmp_serde::to_vec_named(&stored).expect("it encodes");
            let back: StoredRejection = rmp_serde::from_slice(&bytes).expect("it decodes");
            assert_eq!(Rejection::from(back), rejection);
        }
    }
}
