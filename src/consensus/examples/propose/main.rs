//! How fast commands become durable: `cargo run --release -p herder-consensus --example propose [dir]`, and with
//! `--voters 3` in front of the directory, by three voters over loopback TCP; then also how long a write waits when the
//! leader is gone. `--serve` and `--load` are for `benches/etcd/run`, which says how they are used.

mod beside;
mod http;
mod tcp;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consensus::{Consensus, Member, Options, Start};
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

type Failure = Box<dyn std::error::Error>;

/// Writes with more and more clients at a time.
async fn measure(consensus: &Consensus) -> Result<(), Failure> {
    for (clients, each) in [(1u128, 1_000u128), (16, 200), (64, 200), (256, 100), (2_000, 20)] {
        let before = consensus.metrics().storage;
        let (start, used) = (Instant::now(), cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..clients {
            let consensus = consensus.clone();
            tasks.spawn(async move {
                let mut times = Vec::new();
                for number in 0..each {
                    let start = Instant::now();
                    consensus.propose(register(client * each + number)).await?;
                    times.push(start.elapsed());
                }
                Ok::<_, consensus::ProposeError>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.extend(done??);
        }
        let took = start.elapsed();
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        let storage = consensus.metrics().storage;
        let count = clients * each;
        println!(
            "{clients:>5} clients: {:>8.0}/s, p50 {:.2?}, p99 {:.2?}, {:>6.2} flushes per transaction, {:>6.1} commands per \
             flush, cpu {:?}",
            count as f64 / took.as_secs_f64(),
            at(50),
            at(99),
            (storage.fsyncs - before.fsyncs) as f64 / (storage.commits - before.commits) as f64,
            count as f64 / (storage.fsyncs - before.fsyncs) as f64,
            cpu() - used,
        );
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--serve").is_some() {
        return beside::serve(arguments).await;
    }
    if arguments.next_if(|argument| argument == "--load").is_some() {
        return beside::load(arguments).await;
    }
    let mut voters = 1;
    if arguments.next_if(|argument| argument == "--voters").is_some() {
        voters = arguments.next().ok_or("--voters wants a number")?.parse()?;
    }
    let temporary = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| temporary.path().to_owned(), Into::into);
    if voters == 1 { alone(&dir).await } else { together(&dir, voters).await }
}

/// A member with its listener.
async fn member(dir: &Path, node: u64, start: Start) -> Result<(Consensus, Member), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let mut options = Options::new(dir.join(format!("{node}/raft")), node);
    options.address.clone_from(&address);
    options.start = start;
    options.transport = Some(Arc::new(tcp::Tcp::default()));
    let consensus = Consensus::open(options).await?;
    tokio::spawn(tcp::serve(listener, consensus.clone()));
    Ok((consensus, Member { node, address }))
}

async fn together(dir: &Path, voters: u64) -> Result<(), Failure> {
    let (leader, _) = member(dir, 1, Start::Bootstrap).await?;
    let mut nodes = vec![leader.clone()];
    for node in 2..=voters {
        let (joined, place) = member(dir, node, Start::Join).await?;
        leader.add_learner(place).await?;
        nodes.push(joined);
    }
    while leader.members().iter().any(|member| member.matched.is_none()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    leader.set_voters((1..=voters).collect()).await?;
    println!("{voters} voters; the leader is asked");
    measure(&leader).await?;
    println!("a follower is asked");
    measure(&nodes[1]).await?;

    let mut gaps = Vec::new();
    for _ in 0..10 {
        // Others may lead by now; whoever does is taken away under writes.
        let at = loop {
            if let Some(at) = nodes.iter().position(Consensus::is_leader) {
                break at;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let survivor = nodes[(at + 1) % nodes.len()].clone();
        survivor.propose(register(1)).await?;
        let node = nodes[at].metrics().node;
        let gone = nodes.remove(at);
        let start = Instant::now();
        let next = async {
            while survivor.propose(register(2)).await.is_err() {}
            start.elapsed()
        };
        let (gap, ()) = tokio::join!(next, gone.close());
        gaps.push(gap);
        let (back, place) = member(dir, node, Start::Join).await?;
        survivor.set_address(place).await?;
        nodes.insert(at, back);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    gaps.sort_unstable();
    println!("leader closed, next write: {gaps:.0?}, median {:.0?}", gaps[gaps.len() / 2]);

    let (woken, used) = (wakeups(), cpu());
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle for 5 s, all together: {} wakeups, cpu {:?}", wakeups() - woken, cpu() - used);
    for node in nodes {
        node.close().await;
    }
    Ok(())
}

async fn alone(dir: &Path) -> Result<(), Failure> {
    let dir = dir.join("raft");
    let start = Instant::now();
    let consensus = Consensus::open(Options::new(&dir, 1)).await?;
    println!("open: {:?}, {} flushes", start.elapsed(), consensus.metrics().storage.fsyncs);
    for line in std::fs::read_to_string("/proc/self/status").unwrap_or_default().lines() {
        if line.starts_with("VmRSS") || line.starts_with("RssAnon") {
            println!("{line}");
        }
    }
    measure(&consensus).await?;

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
