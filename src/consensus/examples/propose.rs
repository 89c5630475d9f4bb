//! How fast commands become durable: `cargo run --release -p herder-consensus --example propose [dir]`.

use std::time::{Duration, Instant};

use consensus::{Consensus, Options};
use model::{Node, NodeId, Timestamp};
use state::Command;

fn register(number: u128) -> Command {
    let node = Node {
        id: NodeId::new(uuid::Uuid::from_u128(number % 1_000)),
        name: format!("machine-{number}"),
        class: "x".repeat(200),
        ..Node::default()
    };
    Command::RegisterNode { node: Box::new(node), at: Timestamp::default() }
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at).and_then(|field| field.parse::<u64>().ok()))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Times that any thread went to sleep and was woken.
fn wakeups() -> u64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
        .flat_map(|status| {
            status
                .lines()
                .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
                .filter_map(|count| count.trim().parse::<u64>().ok())
                .collect::<Vec<_>>()
        })
        .sum()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kept = std::env::args().nth(1);
    let temporary = tempfile::tempdir()?;
    let dir = kept.map_or_else(|| temporary.path().to_owned(), Into::into).join("raft");

    let start = Instant::now();
    let consensus = Consensus::open(Options::new(&dir, 1)).await?;
    println!("open: {:?}, {} flushes", start.elapsed(), consensus.metrics().storage.fsyncs);
    for line in std::fs::read_to_string("/proc/self/status").unwrap_or_default().lines() {
        if line.starts_with("VmRSS") || line.starts_with("RssAnon") {
            println!("{line}");
        }
    }

    for (clients, each) in [(1u128, 1_000u128), (16, 200), (64, 200), (256, 100), (2_000, 20)] {
        let before = consensus.metrics().storage;
        let (start, used) = (Instant::now(), cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..clients {
            let consensus = consensus.clone();
            tasks.spawn(async move {
                for number in 0..each {
                    consensus.propose(register(client * each + number)).await?;
                }
                Ok::<_, consensus::ProposeError>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let took = start.elapsed();
        let storage = consensus.metrics().storage;
        let count = clients * each;
        println!(
            "{clients:>5} clients: {:>8.0}/s, {:>6.2} flushes per transaction, {:>6.1} commands per flush, cpu {:?}",
            count as f64 / took.as_secs_f64(),
            (storage.fsyncs - before.fsyncs) as f64 / (storage.commits - before.commits) as f64,
            count as f64 / (storage.fsyncs - before.fsyncs) as f64,
            cpu() - used,
        );
    }

    let start = Instant::now();
    let index = consensus.snapshot().await?;
    println!("snapshot up to {index}: {:?}", start.elapsed());

    tokio::time::sleep(Duration::from_secs(2)).await;
    let (woken, used) = (wakeups(), cpu());
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle for 5 s: {} wakeups, cpu {:?}", wakeups() - woken, cpu() - used);

    let start = Instant::now();
    consensus.close().await;
    println!("close: {:?}", start.elapsed());
    let start = Instant::now();
    let consensus = Consensus::open(Options::new(&dir, 1)).await?;
    println!("open again: {:?}", start.elapsed());
    consensus.close().await;
    Ok(())
}
