//! What a worker may put into the log. Its certificate says that it runs allocations, not that it decides which.

use model::NodeId;
use state::{Command, State};

/// Whether a node without a vote may propose this; why not, in words.
pub(crate) fn may_propose(
    node: Option<NodeId>,
    state: &State,
    command: &Command,
) -> Result<(), String> {
    let own = |other: NodeId| node.is_none_or(|node| node == other);
    match command {
        Command::RegisterNode { node: registered, .. } if own(registered.id) => Ok(()),
        Command::RegisterNode { .. } => Err("a node registers itself and no other".to_owned()),
        Command::UpdateAllocs { updates, .. } => {
            let strange = updates
                .iter()
                .find(|update| state.alloc(update.alloc).is_some_and(|alloc| !own(alloc.node)));
            match strange {
                None => Ok(()),
                Some(update) => Err(format!(
                    "allocation {} runs on another node than the one that reports of it",
                    update.alloc.short()
                )),
            }
        }
        // What an operator asks for, at whichever agent; access tokens will say who may.
        Command::Promote { .. }
        | Command::FailDeployment { .. }
        | Command::ApproveRemovals { .. }
        | Command::SetEligibility { .. }
        | Command::SetDrain { .. }
        | Command::SetSchedulerConfig { .. } => Ok(()),
        _ => Err("only servers decide this; ask one of them".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use model::{AllocReport, Allocation, Node, Timestamp, seeded_uuid};
    use state::Plan;

    use super::*;

    #[test]
    fn a_worker_speaks_of_itself_alone() {
        let [me, other] = [b"a", b"b"].map(|seed| NodeId::new(seeded_uuid(&[seed])));
        let alloc = |node, seed: &[u8]| Allocation {
            id: model::AllocId::new(seeded_uuid(&[seed])),
            node,
            ..Allocation::default()
        };
        let (mine, theirs) = (alloc(me, b"1"), alloc(other, b"2"));
        let (of_mine, of_theirs) = (mine.id, theirs.id);
        let mut state = State::default();
        let plan = Plan { place: vec![mine, theirs], ..Plan::default() };
        assert_eq!(state.apply(1, &Command::ApplyPlan(Box::new(plan))).rejection, None);
        let may = |command: &Command| may_propose(Some(me), &state, command).is_ok();
        let register = |id| Command::RegisterNode {
            node: Box::new(Node { id, ..Node::default() }),
            at: Timestamp::ZERO,
        };
        assert!(may(&register(me)) && !may(&register(other)));
        let report = |id| Command::UpdateAllocs {
            updates: vec![AllocReport { alloc: id, ..AllocReport::default() }],
            at: Timestamp::ZERO,
        };
        assert!(may(&report(of_mine)) && !may(&report(of_theirs)));
        assert!(!may(&Command::ApplyPlan(Box::default())));
        assert!(!may(&Command::RemoveNode {
            node: other,
            until: Timestamp::ZERO,
            at: Timestamp::ZERO
        }));
    }
}
