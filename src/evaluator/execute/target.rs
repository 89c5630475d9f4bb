//! Where something goes that moves for a better node: by what is better when its replacement is placed.

use model::{Allocation, NodeId};

use super::Pass;
use crate::place::Request;
use crate::reconcile::{GroupWork, Want};

/// Where something may go.
pub(super) enum Target {
    Any,
    Node(NodeId),
    /// Nowhere: it is well where it is.
    Stay,
}

impl<'a> Pass<'a, '_> {
    /// Where what moves for a better node goes, by what is better now.
    pub(super) fn target(&mut self, work: &GroupWork<'a>, want: &Want<'a>) -> Target {
        let improved = |alloc: &Allocation| want.moves && !alloc.move_reason().is_empty();
        let Some((moving, _)) = want.previous.filter(|(previous, _)| improved(previous)) else {
            return Target::Any;
        };
        let scene = self.scene;
        let leaving: Vec<&Allocation> = scene
            .state
            .allocs_of_job(&scene.record.id)
            .filter(|alloc| alloc.group == work.name && alloc.migrate.is_some())
            .filter(|alloc| !alloc.terminal() && !self.out.stopped.contains_key(&alloc.id))
            .map(AsRef::as_ref)
            .collect();
        let candidates = self.candidates(want.version, &work.name);
        let request = Request {
            id: self.next_id(want.version, &work.name),
            index: want.index,
            group_name: &work.name,
            desired: work.desired,
            avoid: &[],
            only: None,
        };
        let better =
            self.fleet.better(&candidates, &mut self.presence, &request, moving.node, &leaving);
        match better.best {
            Some((node, _)) if better.gain().is_none_or(|gain| gain > 0.0) => Target::Node(node),
            // One of another version has to go anyway.
            _ if better.own.is_some() && moving.job_version == scene.version.version => {
                Target::Stay
            }
            _ => Target::Any,
        }
    }
}
