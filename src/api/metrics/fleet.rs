//! Figures of Raft and of heartbeats. Where Nomad has a figure of the same meaning, it has Nomad's name.

use crate::control::{Heartbeats, RaftMember, RaftView};
use crate::local::LocalFigure;

/// What there is now.
pub(crate) fn fleet(
    raft: &RaftView,
    members: &[RaftMember],
    heartbeats: &Heartbeats,
) -> Vec<LocalFigure> {
    let mut all = Vec::new();
    let mut put = |name, help, value: f64, counter| {
        all.push(LocalFigure { name, help, labels: Vec::new(), value, counter });
    };
    let whole = |value: u64| value as f64;
    put("nomad_raft_appliedIndex", "Last entry applied here", whole(raft.applied), false);
    put("nomad_raft_lastIndex", "Last entry of the log here", whole(raft.last_log), false);
    put("nomad_raft_peers", "Servers that take part", whole(members.len() as u64), false);
    put("nomad_raft_state_leader", "Times that this server came to lead", whole(raft.won), true);
    put("herder_raft_commit_index", "Last entry that stays", whole(raft.committed), false);
    put("herder_raft_elections", "Terms that began since the start", whole(raft.elections), true);
    put(
        "herder_raft_leader_changes",
        "Times that another server came to lead since the start",
        whole(raft.leader_changes),
        true,
    );
    if let Some(ago) = raft.last_contact {
        put(
            "herder_raft_leader_contact_age_seconds",
            "Time since this server heard a leader",
            ago.as_secs_f64(),
            false,
        );
    }
    // What follows is the leader's to know; the others say nothing instead of zero.
    if raft.leader != Some(raft.node) {
        return all;
    }
    let others = members.iter().filter(|member| member.voter && !member.leader);
    if let Some(longest) = others.filter_map(|member| member.last_contact).max() {
        put(
            "nomad_raft_leader_lastContact",
            "Milliseconds since the voter answered that has been silent for longest",
            longest.as_secs_f64() * 1_000.0,
            false,
        );
    }
    let count = |value: usize| value as f64;
    put(
        "nomad_nomad_heartbeat_active",
        "Nodes that the leader listens to",
        count(heartbeats.listening),
        false,
    );
    put("herder_nodes_lost", "Nodes declared lost lately", count(heartbeats.declared), false);
    put(
        "herder_nodes_loss_held",
        "Nodes that do not answer and whose loss the brake holds",
        count(heartbeats.held.len()),
        false,
    );
    all
}
