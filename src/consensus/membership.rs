//! Who takes part, and which changes of that are safe.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A server that takes part in Raft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number, for ever: a number whose directory was lost must not be used again.
    pub node: u64,
    /// Where the others reach it.
    pub address: String,
}

/// A member as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub node: u64,
    /// Where the others reach it.
    pub address: String,
    /// Whether it votes; a learner only follows.
    pub voter: bool,
    /// Whether it leads, as far as this node knows.
    pub leader: bool,
    /// How long ago it answered last. Only the leader knows; of itself it knows zero.
    pub last_contact: Option<Duration>,
    /// The last entry that it is known to have. Only the leader knows.
    pub matched: Option<u64>,
}

/// A change of who takes part, as it travels to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    AddLearner(Member),
    Address(Member),
    Voters(BTreeSet<u64>),
    Remove(u64),
    Transfer(u64),
}

/// What is known when the voters are to change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Council {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
    /// Those that answered the leader just now, itself included.
    pub(crate) answering: BTreeSet<u64>,
}

fn list(nodes: impl IntoIterator<Item = u64>) -> String {
    let names: Vec<String> = nodes.into_iter().map(|node| node.to_string()).collect();
    names.join(", ")
}

impl Council {
    /// Whether these may become the voters; why not, in words.
    pub(crate) fn check(&self, wanted: &BTreeSet<u64>) -> Result<(), String> {
        if wanted.is_empty() {
            return Err("at least one server must vote".to_owned());
        }
        let unknown: Vec<u64> = wanted
            .iter()
            .copied()
            .filter(|node| !self.voters.contains(node) && !self.learners.contains(node))
            .collect();
        if !unknown.is_empty() {
            return Err(format!(
                "server {} is no member yet; add it as a learner first",
                list(unknown)
            ));
        }
        let silent: Vec<u64> =
            wanted.difference(&self.voters).copied().filter(|node| !self.answers(*node)).collect();
        if !silent.is_empty() {
            return Err(format!(
                "server {} does not answer; a voter that does not answer only weakens the others",
                list(silent)
            ));
        }
        let leaving: Vec<u64> =
            self.voters.difference(wanted).copied().filter(|node| self.answers(*node)).collect();
        if leaving.len() > 1 {
            return Err(format!(
                "servers {} answer and would all lose their vote at once; take one at a time",
                list(leaving)
            ));
        }
        let staying = wanted.iter().filter(|node| self.answers(**node)).count();
        let quorum = wanted.len() / 2 + 1;
        if staying < quorum {
            return Err(format!(
                "of the voters {} only {staying} answer, but {quorum} are needed to go on",
                list(wanted.iter().copied())
            ));
        }
        Ok(())
    }

    fn answers(&self, node: u64) -> bool {
        self.answering.contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn council(voters: &[u64], learners: &[u64], answering: &[u64]) -> Council {
        Council { voters: set(voters), learners: set(learners), answering: set(answering) }
    }

    #[test]
    fn one_that_answers_may_leave_at_a_time() {
        let council = council(&[1, 2, 3], &[], &[1, 2, 3]);
        assert_eq!(council.check(&set(&[1, 2])), Ok(()));
        let error = council.check(&set(&[1])).expect_err("two would leave");
        assert!(error.contains("2, 3") && error.contains("one at a time"), "{error}");
    }

    #[test]
    fn the_dead_may_leave_together_while_a_quorum_stays() {
        let council = council(&[1, 2, 3, 4, 5], &[], &[1, 2, 3]);
        assert_eq!(council.check(&set(&[1, 2, 3])), Ok(()));
        assert!(council.check(&set(&[1, 2, 4, 5])).is_err(), "two of four answer");
        assert!(council.check(&set(&[])).is_err());
    }

    #[test]
    fn who_is_unknown_or_silent_gets_no_vote() {
        let council = council(&[1], &[2, 3], &[1, 2]);
        assert_eq!(council.check(&set(&[1, 2])), Ok(()));
        assert!(council.check(&set(&[1, 3])).expect_err("silent").contains("server 3"));
        assert!(council.check(&set(&[1, 9])).expect_err("unknown").contains("server 9"));
    }

    #[test]
    fn a_voter_is_replaced_in_one_step() {
        let council = council(&[1, 2, 3], &[4], &[1, 2, 4]);
        assert_eq!(council.check(&set(&[1, 2, 4])), Ok(()));
    }
}
