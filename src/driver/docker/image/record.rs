//! Which images our tasks brought to this node, and since when nothing uses them. Only data and decisions.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// An image that was not there before a task of ours wanted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brought {
    /// What the task called it.
    pub(super) name: String,
    /// Since when no container uses it; `None` while one does.
    pub(super) unused_since: Option<Timestamp>,
}

/// All of them, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) images: BTreeMap<String, Brought>,
}

impl Record {
    /// Notes that an image came because of us. It counts as used until somebody looks.
    pub(super) fn bring(&mut self, id: &str, name: &str) {
        let brought = Brought { name: name.to_owned(), unused_since: None };
        self.images.insert(id.to_owned(), brought);
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.images.remove(id);
    }

    /// Takes in which images containers use, whoever's they are, and which names tasks are being started with. Returns
    /// what has been unused for `delay` and goes now, with its name.
    pub(super) fn look(
        &mut self,
        used: &HashSet<String>,
        wanted: &HashSet<String>,
        now: Timestamp,
        delay: Duration,
    ) -> Vec<(String, String)> {
        let delay = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
        let mut due = Vec::new();
        for (id, image) in &mut self.images {
            if used.contains(id) || wanted.contains(&image.name) {
                image.unused_since = None;
                continue;
            }
            // A clock that was set back begins anew.
            let since = image.unused_since.filter(|since| since.0 <= now.0).unwrap_or(now);
            image.unused_since = Some(since);
            if now.0.saturating_sub(since.0) >= delay {
                due.push((id.clone(), image.name.clone()));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_secs(180);

    fn set(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn an_image_goes_once_it_was_unused_for_the_delay() {
        let mut record = Record::default();
        record.bring("1", "redis:7");
        let none = HashSet::new();
        assert_eq!(record.look(&set(&["1"]), &none, at(1_000), DELAY), []);
        assert_eq!(record.look(&none, &none, at(2_000), DELAY), []);
        assert_eq!(record.look(&none, &none, at(2_179), DELAY), []);
        // Used for a moment: the time begins again.
        assert_eq!(record.look(&set(&["1"]), &none, at(2_179), DELAY), []);
        assert_eq!(record.look(&none, &none, at(2_200), DELAY), []);
        assert_eq!(record.look(&none, &none, at(2_379), DELAY), []);
        // A task is being started with it and has no container yet.
        assert_eq!(record.look(&none, &set(&["redis:7"]), at(2_400), DELAY), []);
        assert_eq!(record.look(&none, &none, at(2_500), DELAY), []);
        // Through a restart of the agent.
        let kept = serde_json::to_string(&record).expect("is data");
        let mut record: Record = serde_json::from_str(&kept).expect("is the same");
        let due = record.look(&none, &none, at(2_680), DELAY);
        assert_eq!(due, [("1".to_owned(), "redis:7".to_owned())]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_it_go() {
        let mut record = Record::default();
        record.bring("1", "redis:7");
        let none = HashSet::new();
        record.look(&none, &none, at(5_000), DELAY);
        assert_eq!(record.look(&none, &none, at(100), DELAY), []);
        assert_eq!(record.images["1"].unused_since, Some(at(100)));
    }

    proptest! {
        /// Whatever happens in whatever order: what is used, wanted or not ours never goes.
        #[test]
        fn nothing_goes_that_is_needed(
            looks in proptest::collection::vec(
                (proptest::collection::hash_set("[1-4]", 0..4), proptest::collection::hash_set("n[1-4]", 0..3), 0..1_000_i64),
                1..20,
            ),
        ) {
            let mut record = Record::default();
            for id in ["1", "2", "3"] {
                record.bring(id, &format!("n{id}"));
            }
            let mut now = 0;
            for (used, wanted, pause) in looks {
                now += pause;
                for (id, name) in record.look(&used, &wanted, at(now), DELAY) {
                    prop_assert!(!used.contains(&id) && !wanted.contains(&name));
                    prop_assert!(id != "4");
                }
            }
        }
    }
}
