//! How fast the evaluator places, and what it costs to hold what it placed.
//!
//! `cargo bench -p herder-evaluator --bench placement [-- PART…]`, where a part is one of
//!
//! - `budget`: the case that the design sets a goal for: 10,000 nodes, constraints, ports, a spread over racks;
//! - `small`: the same for many jobs of one allocation each;
//! - `passes`: passes that place one allocation, each after the plan of the one before was applied;
//! - `grid`: nodes × allocations × what is asked for × what runs already;
//! - `nomad`: the cases of Nomad's own scheduler benchmark, 120 of them;
//! - `rack`: a pass after a rack of 200 nodes died under 100,000 allocations;
//! - `log`: what it takes to hand on what a pass decided, and to apply it;
//! - `memory`: what a million allocations take, once applied as the log has them.
//!
//! Without one, all but the largest cases run. Times are of the processor, on one thread, for whole passes: reconciling,
//! placing, ids, explanations and the plan itself.

#[path = "placement/cluster.rs"]
mod cluster;
#[path = "placement/meter.rs"]
#[expect(clippy::disallowed_methods, reason = "a bench is no room of the core")]
mod meter;

use std::fmt::Write as _;

use model::EvalTrigger;

use cluster::{Ask, Cluster};
use meter::{Meter, resident_mb};

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let all = asked.is_empty();
    let wants = |part: &str| all || asked.iter().any(|known| known == part);
    if wants("budget") {
        budget(&[(1, 1_000), (10, 1_000), (1, 10_000), (100, 100)]);
    }
    if wants("small") {
        budget(&[(1_000, 1)]);
    }
    if wants("passes") {
        passes();
    }
    if wants("grid") {
        grid(all);
    }
    if wants("nomad") {
        nomad(all);
    }
    if wants("rack") {
        rack();
    }
    if wants("log") {
        log();
    }
    if wants("memory") {
        memory(if all { 100_000 } else { 1_000_000 });
    }
}

/// Jobs of 1,000 on 10,000 nodes with everything asked for at once.
fn budget(shapes: &[(u32, u32)]) {
    println!(
        "\n10,000 nodes; constraint, port and spread over 75 racks in each group; placements/s"
    );
    println!(
        "{:>10} {:>12} {:>14} {:>10} {:>14} {:>10}",
        "jobs", "count each", "first pass", "µs each", "later passes", "µs each"
    );
    for (jobs, count) in shapes.iter().copied() {
        let mut cluster = Cluster::new(10_000, 75);
        cluster.register("job", jobs, count, Ask::Everything);
        let each = cluster.measure(jobs * count);
        let later = cluster.measure_later(jobs * count);
        println!(
            "{jobs:>10} {count:>12} {:>14.0} {each:>10.2} {:>14.0} {later:>10.2}",
            1e6 / each,
            1e6 / later
        );
    }
}

/// A job of one allocation in each pass, as they come one after the other.
fn passes() {
    println!(
        "\na pass that places one allocation of a new job, after the one before was applied: µs"
    );
    println!(
        "{:>7} {:>9} {:>12} {:>10} {:>10} {:>22}",
        "nodes", "there", "asks for", "anew", "kept", "kept, a node changes"
    );
    for (nodes, there) in [(1_000, 100_000), (10_000, 0), (10_000, 100_000)] {
        let base = Cluster::new(nodes, 75).with_running(there);
        for (name, ask) in [("nothing", Ask::Plain), ("everything", Ask::Everything)] {
            let mut cluster = base.clone();
            cluster.register("job", 300, 1, ask);
            let [anew, kept, changing] = cluster.one_by_one(100);
            println!("{nodes:>7} {there:>9} {name:>12} {anew:>10.1} {kept:>10.1} {changing:>22.1}");
        }
    }
}

fn grid(short: bool) {
    println!(
        "\nplacements/s: by nodes, allocations placed in one pass, what is asked for and what runs already"
    );
    println!(
        "{:>7} {:>8} {:>9} {:>11} {:>11} {:>11} {:>11} {:>11}",
        "nodes", "placed", "there", "plain", "constraint", "affinity", "spread", "all"
    );
    for nodes in [100, 1_000, 10_000] {
        for there in [0, 100_000, 1_000_000] {
            if short && there > 100_000 {
                continue;
            }
            let base = Cluster::new(nodes, 50).with_running(there);
            for count in [1, 100, 10_000, 100_000] {
                if short && count > 10_000 {
                    continue;
                }
                let mut line = format!("{nodes:>7} {count:>8} {there:>9}");
                for ask in
                    [Ask::Plain, Ask::Constraint, Ask::Affinity, Ask::Spread, Ask::Everything]
                {
                    let mut cluster = base.clone();
                    cluster.register("job", 1, count, ask);
                    let each = cluster.measure(count);
                    let _ = write!(line, " {:>11.0}", 1e6 / each);
                }
                println!("{line}");
            }
        }
    }
}

/// Nomad's `BenchmarkServiceScheduler`: the time of an evaluation, without applying its plan.
fn nomad(short: bool) {
    println!("\nNomad's own cases: ms for one evaluation (µs for each allocation)");
    println!("{:>7} {:>6} {:>7} {:>20} {:>20}", "nodes", "racks", "allocs", "no spread", "spread");
    for nodes in [500, 1_000, 5_000, 10_000] {
        for racks in [25, 50, 75] {
            if short && racks != 50 {
                continue;
            }
            for count in [50, 300, 600, 900, 1_200] {
                let mut line = format!("{nodes:>7} {racks:>6} {count:>7}");
                for spread in [false, true] {
                    let mut cluster = Cluster::nomad(nodes, racks);
                    cluster.register("job", 1, count, Ask::Nomad { spread, racks });
                    let each = cluster.measure(count);
                    let took = format!("{:.3} ({each:.2})", each * f64::from(count) / 1e3);
                    let _ = write!(line, " {took:>20}");
                }
                println!("{line}");
            }
        }
    }
}

fn rack() {
    let mut cluster = Cluster::new(10_000, 50);
    cluster.register("job", 100, 1_000, Ask::Spread);
    cluster.place_all();
    let (jobs, lost) = cluster.lose_rack(0, EvalTrigger::NodeUpdate);
    let meter = Meter::start();
    let plan = cluster.evaluate();
    let took = meter.ms();
    assert_eq!(plan.place.len(), lost, "all that was lost comes back");
    println!(
        "\na rack of 200 of 10,000 nodes dies under 100,000 allocations of {jobs} jobs: {lost} are placed anew in a \
         pass of {took:.0} ms"
    );
}

fn log() {
    println!(
        "\n10,000 nodes, all that can be asked for: a plan on its way through the log, for each placement"
    );
    println!(
        "{:>10} {:>12} {:>8} {:>10} {:>10} {:>10}",
        "jobs", "count each", "bytes", "write µs", "read µs", "apply µs"
    );
    for (jobs, count) in [(1, 1_000), (1_000, 1)] {
        let mut cluster = Cluster::new(10_000, 75);
        cluster.register("job", jobs, count, Ask::Everything);
        let (bytes, [write, read, apply]) = cluster.hand_on();
        println!("{jobs:>10} {count:>12} {bytes:>8} {write:>10.2} {read:>10.2} {apply:>10.2}");
    }
}

fn memory(allocations: u32) {
    let before = resident_mb();
    let mut cluster = Cluster::new(10_000, 50);
    let nodes = resident_mb();
    cluster.register("job", allocations / 1_000, 1_000, Ask::Everything);
    cluster.place_all();
    assert_eq!(cluster.allocations(), allocations as usize);
    let placed = resident_mb() - nodes;
    cluster.run_all();
    let running = resident_mb() - nodes;
    let each = |mb: f64| mb * 1e6 / f64::from(allocations);
    println!(
        "\n{allocations} allocations with all their indexes, reasons and scores: {placed:.0} MB, {:.0} bytes each; once \
         they run and their nodes have told of it: {running:.0} MB, {:.0} bytes each; 10,000 nodes: {:.0} MB",
        each(placed),
        each(running),
        nodes - before
    );
}
