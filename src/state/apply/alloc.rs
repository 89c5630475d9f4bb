//! What nodes report.

use model::{AllocReport, Allocation, ClientStatus, Timestamp};

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
            if over {
                alloc.tasks.clone_from(&update.tasks);
            } else {
                alloc.client = update.client;
                alloc.client_description.clone_from(&update.client_description);
                alloc.tasks.clone_from(&update.tasks);
                alloc.checks.clone_from(&update.checks);
            }
            // A verdict for a deployment that the allocation no longer belongs to says nothing about the new one.
            if update.deployment == alloc.deployment && alloc.health.is_none() {
                alloc.health.clone_from(&update.health);
            }
            let evaluate = alloc.client != before.client || alloc.health != before.health;
            if alloc == **before {
                continue;
            }
            alloc.modified_at = at;
            let deployment = alloc.deployment.filter(|_| evaluate);
            self.put_alloc(alloc, evaluate, events);
            if let Some(deployment) = deployment {
                self.count_deployment(deployment, at, events);
            }
        }
        Ok(())
    }
}
