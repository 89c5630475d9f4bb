//! What a node has given away, and what its machine uses.

use model::wire::{AllocationView, HostStats, NodeView};

use crate::output;

/// Prints what the allocations of a node hold of it.
pub(super) fn allocated(node: &NodeView, allocs: &[AllocationView]) {
    let (mut cpu, mut memory, mut disk) = (0, 0, 0);
    for alloc in allocs.iter().filter(|alloc| !alloc.stub.client_status.is_terminal()) {
        let Some(held) = &alloc.stub.allocated_resources else { continue };
        disk += held.shared.disk_mb;
        for task in held.tasks.values() {
            cpu += task.cpu.cpu_shares;
            memory += task.memory.memory_mb;
        }
    }
    let all = &node.node_resources;
    output::heading("Allocated Resources");
    output::table(
        &["CPU", "Memory", "Disk"],
        [vec![
            format!("{cpu} / {} MHz", all.cpu.cpu_shares),
            of(memory << 20, all.memory.memory_mb << 20),
            of(disk << 20, all.disk.disk_mb << 20),
        ]],
    );
}

/// Prints what the machine uses, whoever uses it.
pub(super) fn host(node: &NodeView, host: &HostStats) {
    output::heading("Host Resource Utilization");
    output::table(
        &["CPU", "Memory", "Disk", "Inodes", "Uptime"],
        [vec![
            format!("{:.0} / {} MHz", host.cpu_ticks_consumed, node.node_resources.cpu.cpu_shares),
            of(host.memory.used, host.memory.total),
            of(host.alloc_dir_stats.used, host.alloc_dir_stats.size),
            format!("{:.0}%", host.alloc_dir_stats.inodes_used_percent),
            model::format_duration(std::time::Duration::from_secs(host.uptime)).to_string(),
        ]],
    );
}

fn of(used: u64, all: u64) -> String {
    format!("{} / {}", output::bytes(used), output::bytes(all))
}
