//! Placements that three voters have on disk: `cargo bench -p herder-server --bench committed [-- DIRECTORY]`.
//!
//! Three members of a cluster live in this process, each with a log of its own, and talk over loopback TCP. The leader
//! does what it does in service: a pass over dirty jobs, and its plan, in parts of 2,000 placements, into the log. All
//! three apply it. 10,000 nodes; each group asks for constraints, a port and a spread over racks.

#[path = "../../evaluator/benches/placement/cluster.rs"]
#[expect(dead_code, reason = "the bench of placements uses more of it")]
mod cluster;
#[path = "../../evaluator/benches/placement/meter.rs"]
#[expect(dead_code, reason = "the bench of placements uses more of it")]
mod meter;
#[path = "../../consensus/examples/propose/tcp.rs"]
mod tcp;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consensus::{Consensus, Member, Options, Start};
use evaluator::{Fleet, evaluate_with};
use model::{EvalTrigger, JobId, Timestamp};
use state::{Command, Plan};

use cluster::Ask;

type Failure = Box<dyn std::error::Error>;

const VOTERS: u64 = 3;
const NODES: u32 = 10_000;
const ROOM: (u64, u64, u64) = (400_000, 800_000, 4_000_000);
/// As the leader's loop has them.
const JOBS_PER_PASS: usize = 1_000;
const PLACED_PER_COMMAND: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let dir = match asked {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let now = Timestamp::from_secs(1_000_000);
    let voters = voters(dir.path()).await?;
    let (leader, mut fleet) = (&voters[0], Fleet::default());
    for command in cluster::registrations(NODES, 75, ROOM, now) {
        leader.propose(command).await?;
    }
    println!("10,000 nodes, three voters; CPU is of all three together");
    println!(
        "{:>8} {:>12} {:>14} {:>16} {:>16} {:>16}",
        "jobs", "count each", "committed/s", "deciding, µs", "CPU, µs each", "bytes each"
    );
    for (name, jobs, count) in [("large", 20, 1_000), ("some", 200, 100), ("single", 2_000, 1)] {
        let taken =
            leader.propose(cluster::revision(name, jobs, count, Ask::Everything, now)).await?;
        if let Some(rejection) = taken.rejection {
            return Err(rejection.into());
        }
        let of_these = |id: &JobId| id.as_str().starts_with(name);
        let ids: Vec<JobId> =
            leader.state().jobs().map(|job| job.id.clone()).filter(of_these).collect();
        let (start, used, mut deciding) = (Instant::now(), cpu(), Duration::ZERO);
        let (mut placed, mut bytes) = (0, 0);
        for some in ids.chunks(JOBS_PER_PASS) {
            let jobs: BTreeMap<_, _> =
                some.iter().map(|id| (id.clone(), EvalTrigger::JobRegister)).collect();
            let (state, began) = (leader.state(), Instant::now());
            let mut known = std::mem::take(&mut fleet);
            let pass = tokio::task::spawn_blocking(move || {
                (evaluate_with(&mut known, &state, &jobs, now), known)
            });
            let mut plan;
            (plan, fleet) = pass.await?;
            deciding += began.elapsed();
            let mut rest = std::mem::take(&mut plan.place);
            let mut index = plan.basis;
            loop {
                let later = rest.split_off(PLACED_PER_COMMAND.min(rest.len()));
                plan.place = std::mem::replace(&mut rest, later);
                plan.basis = index;
                placed += plan.place.len();
                let at = plan.at;
                let command = Command::ApplyPlan(Box::new(plan));
                bytes += command.to_bytes()?.len();
                let applied = leader.propose(command).await?;
                if let Some(rejection) = applied.rejection {
                    return Err(rejection.into());
                }
                index = applied.index;
                plan = Plan { at, ..Plan::default() };
                if rest.is_empty() {
                    break;
                }
            }
        }
        let last = leader.state().index();
        while voters.iter().any(|voter| voter.state().index() < last) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let each = |span: Duration| span.as_secs_f64() * 1e6 / placed as f64;
        println!(
            "{jobs:>8} {count:>12} {:>14.0} {:>16.1} {:>16.1} {:>16}",
            1e6 / each(start.elapsed()),
            each(deciding),
            each(cpu() - used),
            bytes / placed
        );
    }
    Ok(())
}

async fn voters(dir: &Path) -> Result<Vec<Consensus>, Failure> {
    let mut all: Vec<Consensus> = Vec::new();
    for node in 1..=VOTERS {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let mut options = Options::new(dir.join(format!("{node}/raft")), node);
        options.address.clone_from(&address);
        options.start = if node == 1 { Start::Bootstrap } else { Start::Join };
        options.transport = Some(Arc::new(tcp::Tcp::default()));
        let consensus = Consensus::open(options).await?;
        tokio::spawn(tcp::serve(listener, consensus.clone()));
        if let Some(leader) = all.first() {
            leader.add_learner(Member { node, address }).await?;
        }
        all.push(consensus);
    }
    let leader = &all[0];
    while leader.members().iter().any(|member| member.matched.is_none()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    leader.set_voters((1..=VOTERS).collect()).await?;
    Ok(all)
}

/// Time of all cores that this process had.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
