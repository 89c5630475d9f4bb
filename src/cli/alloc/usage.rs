//! What an allocation's tasks use, beside what they may.

use model::wire::{AllocResourceUsage, AllocationView, TaskResourceUsage};

use crate::output;

/// Prints what a task may use, and what it does where that is known.
pub(super) fn of_task(alloc: &AllocationView, task: &str, usage: Option<&AllocResourceUsage>) {
    let Some(given) = alloc.stub.allocated_resources.as_ref() else { return };
    let Some(own) = given.tasks.get(task) else { return };
    let used = usage.and_then(|usage| usage.tasks.get(task)).map(|task| &task.resource_usage);
    let beside = |used: Option<String>, limit: String| match used {
        Some(used) => format!("{used} / {limit}"),
        None => limit,
    };
    output::heading("Task Resources");
    output::table(
        &["CPU", "Memory", "Disk"],
        [vec![
            beside(
                used.map(|used| format!("{:.0}", used.cpu_stats.total_ticks)),
                format!("{} MHz", own.cpu.cpu_shares),
            ),
            beside(
                used.map(|used| output::bytes(used.memory_stats.rss)),
                output::bytes(own.memory.memory_mb << 20),
            ),
            output::bytes(given.shared.disk_mb << 20),
        ]],
    );
}

/// Prints all that is known of what a task uses.
pub(super) fn in_detail(task: &TaskResourceUsage) {
    let (memory, cpu) = (&task.resource_usage.memory_stats, &task.resource_usage.cpu_stats);
    output::heading("Memory Stats");
    output::table(
        &["RSS", "Cache", "Usage", "Max Usage"],
        [[memory.rss, memory.cache, memory.usage, memory.max_usage].map(output::bytes).to_vec()],
    );
    output::heading("CPU Stats");
    output::table(
        &["Percent", "System", "User", "Throttled Periods", "Throttled Time", "Processes"],
        [vec![
            format!("{:.2}%", cpu.percent),
            format!("{:.2}%", cpu.system_mode),
            format!("{:.2}%", cpu.user_mode),
            cpu.throttled_periods.to_string(),
            model::format_duration(std::time::Duration::from_nanos(cpu.throttled_time)).to_string(),
            task.processes.to_string(),
        ]],
    );
}
