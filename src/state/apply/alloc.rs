//! What nodes report.

use std::collections::BTreeMap;

use model::{AllocReport, Allocation, ClientStatus, Few, Timestamp};

use crate::event::{Event, Rejection};
use crate::table::State;

impl State {
    pub(super) fn update_allocs(
        &mut self,
        updates: &[AllocReport],
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        for update in updates {
            // An allocation that was collected meanwhile is no error: the node will learn of it.
            let Some(before) = self.allocs.get(&update.alloc) else { continue };
            let mut alloc = Allocation::clone(before);
            // What is over does not begin again, and what was declared lost stays lost: its replacement runs already.
            let over = match alloc.client {
                ClientStatus::Lost => update.client != ClientStatus::Complete,
                known => known.is_terminal() && !update.client.is_terminal(),
            };
            alloc.tasks = few(&update.tasks);
            if !over {
                alloc.client = update.client;
                if *alloc.client_description != *update.client_description {
                    alloc.client_description = update.client_description.as_str().into();
                }
                alloc.checks = few(&update.checks);
            }
            self.share_told(&mut alloc);
            // A verdict for a deployment that the allocation no longer belongs to says nothing about the new one.
            // Nor has one served that is found well once it is to be over: its place may be empty meanwhile.
            let is_late = (before.server_terminal() || before.client == ClientStatus::Lost)
                && update.health.as_ref().is_some_and(|health| health.healthy);
            if update.deployment == alloc.deployment && alloc.health.is_none() && !is_late {
                alloc.health.clone_from(&update.health);
            }
            let evaluate = alloc.client != before.client || alloc.health != before.health;
            if alloc == **before {
                continue;
            }
            alloc.modified_at = at;
            let deployment = alloc.deployment.filter(|_| evaluate);
            // Whoever is to move waits for the checks of what takes its place, if nobody gives a verdict on that.
            let awaited = alloc.health.is_none()
                && alloc.checks != before.checks
                && (self.allocs_of_job(&alloc.job).any(|other| {
                    other.migrate.is_some() && !other.client.is_terminal() && other.id != alloc.id
                }) || replaced_for_its_node(&alloc));
            self.put_alloc(alloc, evaluate || awaited, events);
            if let Some(deployment) = deployment {
                self.count_deployment(deployment, at, events);
            }
        }
        Ok(())
    }
}

fn few<V: Clone>(map: &BTreeMap<String, V>) -> Few<V> {
    // Collected into a list of its own that takes as much room as there is.
    let all = map.iter().map(|(key, value)| (key.clone(), value.clone()));
    Few::from_sorted_store_unchecked(all.collect())
}

/// Whether it may have taken the place of one whose node changed. The next one waits for its checks.
fn replaced_for_its_node(alloc: &model::Allocation) -> bool {
    alloc.deployment.is_none() && alloc.previous.is_some() && alloc.node_inputs.is_some()
}

#[cfg(test)]
mod tests {
    use model::{AllocHealth, AllocId, CheckState, seeded_uuid};

    use super::*;
    use crate::{Command, Plan, StopAlloc};

    #[test]
    fn checks_of_what_takes_a_place_are_worth_a_look() {
        let [old, new] = [b"old", b"new"].map(|seed| AllocId::new(seeded_uuid(&[seed])));
        let alloc = |id| Allocation { id, job: "web".into(), ..Allocation::default() };
        let mut state = State::default();
        let mut apply = |index, command: &Command| state.apply(index, command).events;
        let plan = Plan { place: vec![alloc(old), alloc(new)], ..Plan::default() };
        apply(1, &Command::ApplyPlan(Box::new(plan)));
        let at = Timestamp::from_secs(1);
        let report = |name: &str| Command::UpdateAllocs {
            updates: vec![AllocReport {
                alloc: new,
                checks: [(name.to_owned(), CheckState::default())].into(),
                ..AllocReport::default()
            }],
            at,
        };
        let looks = |events: &[Event]| {
            events.iter().any(|event| matches!(event, Event::Alloc { evaluate: true, .. }))
        };
        assert!(!looks(&apply(2, &report("a"))), "nobody waits for it");
        apply(3, &Command::MarkMigrate { allocs: vec![old], at, reason: String::new() });
        assert!(looks(&apply(4, &report("b"))));
    }

    #[test]
    fn what_was_given_up_is_not_found_well_afterwards() {
        let id = AllocId::new(seeded_uuid(&[b"a"]));
        let mut state = State::default();
        let mut apply = |index, command: &Command| {
            assert_eq!(state.apply(index, command).rejection, None);
            state.alloc(id).cloned().expect("is there")
        };
        let alloc = Allocation { id, job: "web".into(), ..Allocation::default() };
        apply(1, &Command::ApplyPlan(Box::new(Plan { place: vec![alloc], ..Plan::default() })));
        let client = Some(ClientStatus::Lost);
        let stop = vec![StopAlloc { alloc: id, client, ..StopAlloc::default() }];
        apply(2, &Command::ApplyPlan(Box::new(Plan { basis: 1, stop, ..Plan::default() })));
        let report = |client, healthy| {
            let health = Some(AllocHealth { healthy, ..AllocHealth::default() });
            let update = AllocReport { alloc: id, client, health, ..AllocReport::default() };
            Command::UpdateAllocs { updates: vec![update], at: Timestamp::from_secs(1) }
        };
        assert_eq!(apply(3, &report(ClientStatus::Running, true)).health, None);
        let over = apply(4, &report(ClientStatus::Complete, true));
        assert_eq!((over.client, &over.health), (ClientStatus::Complete, &None));
        assert_eq!(apply(5, &report(ClientStatus::Complete, true)).health, None);
        assert!(apply(6, &report(ClientStatus::Complete, false)).is_unhealthy());
    }
}
