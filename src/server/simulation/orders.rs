//! What a machine makes of the list of its allocations.

use std::collections::BTreeSet;

use model::AllocId;

use super::task::{Phase, Task};
use super::world::{Check, Event, World};

impl World<'_> {
    /// Reads the list from one of the servers, which may be behind.
    pub(super) fn orders(&mut self, at: usize) -> Check {
        if !self.machines[at].is_reachable() {
            return Ok(());
        }
        let there: Vec<usize> = (0..self.servers.len())
            .filter(|server| self.servers[*server].up && !self.servers[*server].isolated)
            .collect();
        if there.is_empty() {
            self.after(300, Event::Orders(at));
            return Ok(());
        }
        let server = there[self.draw(there.len() as u64, &[50, at as u64]) as usize];
        let state = self.servers[server].state.clone();
        if state.index() < self.log.state.index() {
            // What is asked for is the next change; it comes once the server has it.
            self.after(40, Event::Orders(at));
        }
        if state.index() < self.machines[at].seen {
            return Ok(());
        }
        let now = self.now;
        let (id, index) = (self.machines[at].id, state.index());
        let list: Vec<_> = state.allocs_on_node(id).cloned().collect();
        let is_suspicious = list.is_empty();
        self.machines[at].seen = index;
        let mut listed: BTreeSet<AllocId> = BTreeSet::new();
        for alloc in list {
            listed.insert(alloc.id);
            let Some(version) = state.job_version(&alloc.job, alloc.job_version) else {
                return Err(format!("S4: the version of allocation {} is forgotten", alloc.id));
            };
            let starts = now + 50 + self.draw(900, &[51, alloc.id.uuid().as_u128() as u64]);
            let machine = &mut self.machines[at];
            match machine.tasks.get_mut(&alloc.id) {
                Some(task) => task.heed(&alloc, &version.job, now),
                None if alloc.client.is_terminal() => continue,
                None => {
                    let task = Task::new(&alloc, &version.job, now, starts);
                    machine.tasks.insert(alloc.id, task);
                }
            }
            self.tend(at, alloc.id)?;
        }
        let machine = &mut self.machines[at];
        let gone: Vec<AllocId> = machine
            .tasks
            .values()
            .filter(|task| !listed.contains(&task.alloc))
            .filter(|task| !is_suspicious || task.is_unwanted || task.phase == Phase::Over)
            .map(|task| task.alloc)
            .collect();
        for alloc in gone {
            let machine = &mut self.machines[at];
            let Some(task) = machine.tasks.get_mut(&alloc) else { continue };
            if task.phase == Phase::Over {
                machine.tasks.remove(&alloc);
            } else {
                task.is_unwanted = true;
                task.stop(now);
                self.tend(at, alloc)?;
            }
        }
        Ok(())
    }
}
