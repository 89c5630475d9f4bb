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
        if let Some(record) = self.jobs.get(&alloc.job) {
            alloc.job = record.id.clone();
            if let Some(version) = record.version(alloc.job_version) {
                one(&mut alloc.origin, &version.origin);
            }
        }
        let first = |id: Option<&model::AllocId>| id.and_then(|id| self.allocs.get(id));
        let of_job = first(self.allocs_by_job.get(&alloc.job).and_then(|ids| ids.get_min()));
        for other in beside.into_iter().chain(of_job.map(|other| &**other)) {
            one(&mut alloc.group, &other.group);
            one(&mut alloc.client_description, &other.client_description);
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
