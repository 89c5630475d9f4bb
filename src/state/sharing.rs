//! Keeps once what many allocations have in common.
//!
//! Bytes know nothing of sharing: each allocation that comes out of the log or a snapshot has a copy of its own of its
//! group's name, its commit and the words that explain it. That would be most of what a large fleet needs of memory.

use std::sync::Arc;

use model::{Allocation, Explanation};

use crate::table::State;

impl State {
    /// Lets a new allocation share what it says alike with its job, with `beside`, and with one other of its job and of
    /// its node. What it says stays the same.
    pub(crate) fn share(&self, alloc: &mut Allocation, beside: Option<&Allocation>) {
        let record = self.jobs.get(&alloc.job);
        if let Some(version) = record.and_then(|record| record.version(alloc.job_version)) {
            one(&mut alloc.origin, &version.origin);
        }
        let first = |id: Option<&model::AllocId>| id.and_then(|id| self.allocs.get(id));
        let of_job = first(self.allocs_by_job.get(&alloc.job).and_then(|ids| ids.get_min()));
        for other in beside.into_iter().chain(of_job.map(|other| &**other)) {
            alloc.job = other.job.clone();
            one(&mut alloc.group, &other.group);
            one(&mut alloc.desired_description, &other.desired_description);
            one(&mut alloc.origin, &other.origin);
            for (port, known) in alloc.resources.ports.iter_mut().zip(&other.resources.ports) {
                one(&mut port.label, &known.label);
            }
            if let (Some(own), Some(known)) = (&mut alloc.explanation, &other.explanation) {
                explained_as(own, known);
            }
        }
        let on_node = first(self.allocs_by_node.get(&alloc.node).and_then(|ids| ids.get_min()));
        if let Some(other) = on_node {
            one(&mut alloc.node_name, &other.node_name);
            for port in &mut alloc.resources.ports {
                for known in &other.resources.ports {
                    one(&mut port.host_ip, &known.host_ip);
                }
            }
        }
        // Ports of one allocation are mostly at one address.
        if let Some((port, rest)) = alloc.resources.ports.split_first_mut() {
            rest.iter_mut().for_each(|other| one(&mut other.host_ip, &port.host_ip));
        }
    }

    /// The same for what its node told of it.
    pub(crate) fn share_told(&self, alloc: &mut Allocation) {
        let Some(ids) = self.allocs_by_job.get(&alloc.job) else { return };
        // Of two at least one is another.
        let others = ids.get_min().into_iter().chain(ids.get_max()).filter(|id| **id != alloc.id);
        let Some(other) = others.filter_map(|id| self.allocs.get(id)).next() else { return };
        one(&mut alloc.client_description, &other.client_description);
        for (task, state) in &mut alloc.tasks {
            let Some(known) = other.tasks.get(task) else { continue };
            // Where one was restarted its events lie elsewhere, and most of a restart's words are its own.
            for (event, known) in state.events.iter_mut().zip(&known.events) {
                event.kind.share(&known.kind);
                event.message.share(&known.message);
            }
        }
    }
}

/// Keeps one of two that are equal.
fn one<T: PartialEq + ?Sized>(own: &mut Arc<T>, known: &Arc<T>) {
    if is_copy(own, known) {
        *own = Arc::clone(known);
    }
}

fn is_copy<T: PartialEq + ?Sized>(own: &Arc<T>, known: &Arc<T>) -> bool {
    !Arc::ptr_eq(own, known) && own == known
}

fn explained_as(own: &mut Arc<Explanation>, known: &Explanation) {
    let best = |own: &Explanation| match (&own.best, &known.best) {
        (Some(own), Some(known)) => is_copy(own, known),
        (_, _) => false,
    };
    if !is_copy(&own.reason, &known.reason)
        && !is_copy(&own.filtered, &known.filtered)
        && !best(own)
    {
        return;
    }
    let own = Arc::make_mut(own);
    one(&mut own.reason, &known.reason);
    one(&mut own.filtered, &known.filtered);
    if let (Some(own), Some(known)) = (&mut own.best, &known.best) {
        one(own, known);
    }
}

#[cfg(test)]
mod tests {
    use model::{
        AllocId, AllocReport, AllocResources, NodeScore, Origin, PortAssignment, TaskEvent,
        TaskState, seeded_uuid,
    };

    use super::*;
    use crate::{Command, Plan};

    fn id(n: u8) -> AllocId {
        AllocId::new(seeded_uuid(&[&[n]]))
    }

    fn apply(state: &mut State, command: &Command) {
        let bytes = command.to_bytes().expect("has bytes");
        let command = Command::from_bytes(&bytes).expect("is read");
        assert_eq!(state.apply(state.index() + 1, &command).rejection, None);
    }

    fn place(state: &mut State, n: u8) {
        let port = |label: &str| PortAssignment {
            label: label.into(),
            host_ip: "10.0.0.1".into(),
            ..PortAssignment::default()
        };
        let alloc = Allocation {
            id: id(n),
            job: "web".into(),
            group: "front".into(),
            node_name: "n1".into(),
            origin: Arc::new(Origin { repo: "infra".into(), ..Origin::default() }),
            resources: AllocResources {
                ports: vec![port("http"), port("admin")],
                ..AllocResources::default()
            },
            explanation: Some(Arc::new(Explanation {
                reason: "new".into(),
                best: Some(Arc::new(vec![NodeScore::default()])),
                ..Explanation::default()
            })),
            ..Allocation::default()
        };
        let basis = state.index();
        let plan = Plan { basis, place: vec![alloc], ..Plan::default() };
        apply(state, &Command::ApplyPlan(Box::new(plan)));
        let event = TaskEvent {
            kind: "Started".into(),
            message: "Task started by client".into(),
            ..TaskEvent::default()
        };
        let task = TaskState { events: vec![event], ..TaskState::default() };
        let report = AllocReport {
            alloc: id(n),
            client_description: "Tasks are running".into(),
            tasks: [("main".to_owned(), task)].into(),
            ..AllocReport::default()
        };
        let at = model::Timestamp::from_secs(1);
        apply(state, &Command::UpdateAllocs { updates: vec![report], at });
    }

    /// Where the text and the lists lie that both say.
    fn places(alloc: &Allocation) -> Vec<usize> {
        let words = |words: &str| words.as_ptr().addr();
        let why = alloc.explanation.as_ref().expect("is explained");
        let event = &alloc.tasks.iter().next().expect("has a task").1.events[0];
        let mut all = vec![
            words(&alloc.group),
            words(alloc.job.as_str()),
            words(&alloc.node_name),
            words(&alloc.client_description),
            words(&why.reason),
            words(&event.kind),
            words(&event.message),
            Arc::as_ptr(&alloc.origin).addr(),
            Arc::as_ptr(why.best.as_ref().expect("the best")).addr(),
        ];
        let ports = alloc.resources.ports.iter();
        all.extend(ports.flat_map(|port| [words(&port.label), words(&port.host_ip)]));
        all
    }

    #[test]
    fn what_came_apart_lies_in_one_place() {
        let mut state = State::default();
        (1..=3).for_each(|n| place(&mut state, n));
        let bytes = state.to_bytes().expect("has bytes");
        for state in [state, State::from_bytes(&bytes).expect("is read")] {
            let of = |n| places(state.alloc(id(n)).expect("is known"));
            assert_eq!(of(1), of(2));
            assert_eq!(of(2), of(3));
        }
    }
}
