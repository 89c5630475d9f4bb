//! Rules that the harness breaks on purpose, to see that it would be noticed. The product knows nothing of them.

use std::time::Duration;

use model::{ClientStatus, NodeStatus, Timestamp};
use state::{Command, Plan, State, StopAlloc};

use crate::heartbeat::HeartbeatOptions;

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoil {
    /// The gate lets everything through at once.
    OpenGate,
    /// A plan says that it was made from the newest state, whatever it was made from.
    FreshBasis,
    /// What is placed goes wherever the first of it went.
    OneNode,
    /// Now and then the leader does not hear what happened.
    Overhear,
    /// The brake holds nothing.
    NoBrake,
    /// A server skips an entry.
    Skip,
    /// Something that is to stop is forgotten.
    ForgetStops,
    /// What is lost is said to be lost and stood in for at once, though it is to be waited for.
    Impatient,
    /// A new leader knows nothing of the nodes that the one before gave up.
    Amnesia,
    /// Whatever a leader says of nodes counts, whoever leads by now.
    AnyWord,
}

impl Spoil {
    pub(super) const ALL: [Self; 10] = [
        Self::OpenGate,
        Self::FreshBasis,
        Self::OneNode,
        Self::Overhear,
        Self::NoBrake,
        Self::Skip,
        Self::ForgetStops,
        Self::Impatient,
        Self::Amnesia,
        Self::AnyWord,
    ];

    pub(super) fn plan(self, state: &State, plan: &mut Plan) {
        match self {
            Self::OpenGate => open_gate(state, plan),
            Self::OneNode => {
                if let Some((first, rest)) = plan.place.split_first_mut() {
                    for alloc in rest {
                        (alloc.node, alloc.node_name) = (first.node, first.node_name.clone());
                    }
                }
            }
            Self::ForgetStops => {
                plan.stop.retain(|stop| !stop.description.contains("job is stopped"));
            }
            Self::Impatient => {
                for gone in std::mem::take(&mut plan.disconnect) {
                    let Some(alloc) = state.alloc(gone.alloc) else { continue };
                    let mut other = (**alloc).clone();
                    let (id, index) = (alloc.id.to_string(), state.index().to_be_bytes());
                    other.id = model::AllocId::new(model::seeded_uuid(&[id.as_bytes(), &index]));
                    other.client = ClientStatus::Pending;
                    (other.create_index, other.health) = (0, None);
                    let Some(node) = state.nodes().find(|node| node.is_ready()) else { continue };
                    (other.node, other.node_name) = (node.id, node.name.as_str().into());
                    plan.place.push(other);
                }
            }
            Self::FreshBasis
            | Self::Overhear
            | Self::NoBrake
            | Self::Skip
            | Self::Amnesia
            | Self::AnyWord => {}
        }
    }

    pub(super) fn basis(self, basis: u64) -> u64 {
        if self == Self::FreshBasis { u64::MAX } else { basis }
    }

    pub(super) fn overhears(self, index: u64) -> bool {
        self == Self::Overhear && index.is_multiple_of(7)
    }

    pub(super) fn forgets(self, server: usize, index: u64) -> bool {
        self == Self::Skip && server == 1 && index == 23
    }

    /// The time at which a new leader looks back: at a day's distance nothing is left of what was.
    pub(super) fn remembers(self, clock: Timestamp) -> Timestamp {
        if self == Self::Amnesia { clock + Duration::from_secs(24 * 3600) } else { clock }
    }

    pub(super) fn word(self, command: &mut Command) {
        if let Command::SetNodeStatuses { follows, .. } = command
            && self == Self::AnyWord
        {
            *follows = None;
        }
    }

    pub(super) fn brake(self, options: &mut HeartbeatOptions) {
        if self == Self::NoBrake {
            options.brake_percent = 100;
        }
    }
}

/// Whatever else runs of a group that is being updated is stopped together with the first of it.
fn open_gate(state: &State, plan: &mut Plan) {
    let mut more: Vec<StopAlloc> = Vec::new();
    for stop in plan.stop.iter().filter(|stop| stop.description.contains("updated")) {
        let Some(first) = state.alloc(stop.alloc) else { continue };
        for alloc in state.allocs_of_job(&first.job) {
            let is_same = alloc.group == first.group && alloc.job_version == first.job_version;
            let is_there =
                state.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready);
            let is_known = plan.stop.iter().chain(&more).any(|known| known.alloc == alloc.id);
            if is_same && is_there && !alloc.terminal() && !is_known {
                more.push(StopAlloc { alloc: alloc.id, next: None, ..stop.clone() });
            }
        }
    }
    plan.stop.extend(more);
}
