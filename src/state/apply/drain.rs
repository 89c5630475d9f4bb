//! Nodes are emptied. The drainer decides which allocations leave when; here is what it and operators say.

use model::{
    AllocId, Allocation, DrainStatus, DrainStrategy, Eligibility, LastDrain, Move, Node, NodeId,
    Timestamp,
};

use super::node::mark;
use crate::event::{Event, Rejection};
use crate::table::State;

impl State {
    pub(super) fn set_drain(
        &mut self,
        id: NodeId,
        drain: Option<&DrainStrategy>,
        mark_eligible: bool,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let known = self.node_or_reject(id)?;
        let mut node = Node::clone(known);
        match drain {
            Some(drain) => {
                let mut drain = drain.clone();
                let message = match &known.drain {
                    // It goes on, in another way.
                    Some(before) => {
                        drain.started_at = before.started_at;
                        "Node drain strategy updated"
                    }
                    None => "Node drain strategy set",
                };
                node.last_drain = Some(LastDrain {
                    started_at: drain.started_at,
                    updated_at: at,
                    status: DrainStatus::Draining,
                });
                node.record("Drain", message, at);
                node.drain = Some(drain);
                node.draining = true;
                mark(&mut node, Eligibility::Ineligible, at);
            }
            None => {
                if known.draining {
                    end(&mut node, DrainStatus::Canceled, at);
                    node.record("Drain", "Node drain disabled", at);
                }
                if mark_eligible {
                    mark(&mut node, Eligibility::Eligible, at);
                }
                if node == **known {
                    return Ok(());
                }
            }
        }
        self.put_node(node, events);
        Ok(())
    }

    pub(super) fn finish_drain(
        &mut self,
        id: NodeId,
        started_at: Timestamp,
        forced: bool,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let known = self.node_or_reject(id)?;
        if known.drain.as_ref().is_none_or(|drain| drain.started_at != started_at) {
            return Err(Rejection::Conflict(format!(
                "node {} is not being emptied any more",
                known.name
            )));
        }
        let mut node = Node::clone(known);
        end(&mut node, DrainStatus::Complete, at);
        let message = if forced {
            "Node drain complete: the rest was stopped at the deadline"
        } else {
            "Node drain complete"
        };
        node.record("Drain", message, at);
        self.put_node(node, events);
        Ok(())
    }

    pub(super) fn mark_migrate(
        &mut self,
        ids: &[AllocId],
        at: Timestamp,
        reason: &str,
        events: &mut Vec<Event>,
    ) {
        for id in ids {
            let Some(alloc) = self.allocs.get(id) else { continue };
            // What is over or told to stop leaves anyway.
            if alloc.terminal() || alloc.migrate.is_some() {
                continue;
            }
            let mut alloc = Allocation::clone(alloc);
            alloc.migrate = Some(Box::new(Move { since: at, reason: reason.into() }));
            alloc.modified_at = at;
            self.put_alloc(alloc, true, events);
        }
    }

    pub(super) fn unmark_migrate(
        &mut self,
        ids: &[AllocId],
        at: Timestamp,
        events: &mut Vec<Event>,
    ) {
        for id in ids {
            let Some(alloc) = self.allocs.get(id) else { continue };
            // One that leaves a node that is emptied does not stay.
            if alloc.terminal() || alloc.move_reason().is_empty() {
                continue;
            }
            let stands_in = |other: &Allocation| {
                other.id != *id
                    && other.group == alloc.group
                    && other.index == alloc.index
                    && !other.terminal()
            };
            if self.allocs_of_job(&alloc.job).any(|other| stands_in(other)) {
                continue;
            }
            let mut alloc = Allocation::clone(alloc);
            alloc.migrate = None;
            alloc.modified_at = at;
            self.put_alloc(alloc, true, events);
        }
    }
}

fn end(node: &mut Node, status: DrainStatus, at: Timestamp) {
    let started_at = node.drain.take().map(|drain| drain.started_at).unwrap_or_default();
    node.draining = false;
    node.last_drain = Some(LastDrain { started_at, updated_at: at, status });
}

#[cfg(test)]
mod tests {
    use model::seeded_uuid;

    use super::*;
    use crate::{Command, Plan};

    #[test]
    fn what_was_to_move_for_a_better_node_may_stay_until_it_is_replaced() {
        let [old, new, drained] =
            [b"old", b"new", b"off"].map(|seed| AllocId::new(seeded_uuid(&[seed])));
        let alloc = |id, index| Allocation { id, index, job: "a".into(), ..Allocation::default() };
        let place = |allocs| {
            let plan = Plan { place: allocs, ..Plan::default() };
            Command::ApplyPlan(Box::new(plan))
        };
        let at = Timestamp::from_secs(1);
        let mark = |id, reason: &str| {
            let reason = reason.to_owned();
            Command::MarkMigrate { allocs: vec![id], at, reason }
        };
        let unmark = Command::UnmarkMigrate { allocs: vec![old, drained], at };
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |state: &mut State, command: &Command| {
            index += 1;
            assert_eq!(state.apply(index, command).rejection, None);
        };
        let marks = |state: &State, id| {
            let alloc = state.alloc(id).expect("is known");
            (alloc.migrate.is_some(), alloc.move_reason().to_owned())
        };
        apply(&mut state, &place(vec![alloc(old, 0), alloc(drained, 1)]));
        apply(&mut state, &mark(old, "a better node"));
        apply(&mut state, &mark(drained, ""));
        apply(&mut state, &unmark);
        assert_eq!(marks(&state, old), (false, String::new()));
        assert_eq!(marks(&state, drained), (true, String::new()), "its node is emptied");
        apply(&mut state, &mark(old, "a better node"));
        apply(&mut state, &mark(old, "another"));
        let basis = state.index();
        let plan = Plan { basis, place: vec![alloc(new, 0)], ..Plan::default() };
        apply(&mut state, &Command::ApplyPlan(Box::new(plan)));
        apply(&mut state, &unmark);
        assert_eq!(marks(&state, old), (true, "a better node".to_owned()), "it is replaced");
    }
}
