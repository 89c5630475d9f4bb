//! Three servers and many simulated nodes on one machine: `cargo bench --bench fleet -- --nodes 200 --allocations 1000`
//! rolls a job out, and `-- --nodes 5000 --allocations 0 --calm 130` lets the nodes rest until the connections that they
//! registered by are closed; then some of them fall silent.
//!
//! The servers are agents as anybody starts them. The nodes live in this process, each with a key, a certificate and a
//! connection of its own over loopback, and do all that an agent's node does but run tasks. What an agent follows the
//! log with, a copy of the state, is shared: `--copies 4` of them follow (as many streams as nodes with `--copies 200`).
//! Nodes and servers share the machine's cores, so the times say what a machine of that size can do; the CPU is the
//! leader's alone.

#[path = "fleet/cost.rs"]
mod cost;
#[path = "fleet/node.rs"]
mod node;
#[path = "../tests/end_to_end/repository.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod repository;
#[path = "fleet/servers.rs"]
mod servers;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use consensus::{Consensus, FollowOptions};
use model::{ClientStatus, NodeId, NodeStatus};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;

use node::{CLASS, Simulated};
use repository::Repository;
use servers::Servers;

/// Nodes that join or register at once.
const AT_ONCE: usize = 64;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// What is new for a node is reported after this time, all of it at once.
const GATHER: Duration = Duration::from_millis(100);
/// How long the fleet is watched at rest.
const REST: Duration = Duration::from_secs(10);

struct Arguments {
    nodes: usize,
    allocations: usize,
    copies: usize,
    silent: usize,
    /// Seconds before the fleet counts as being at rest. Connections that nobody uses are closed after 120.
    calm: usize,
}

fn arguments() -> Arguments {
    let all: Vec<String> = std::env::args().collect();
    let value = |name: &str, otherwise: usize| {
        let at = all.iter().position(|argument| argument == name);
        at.and_then(|at| all.get(at + 1)?.parse().ok()).unwrap_or(otherwise)
    };
    let nodes = value("--nodes", 200);
    Arguments {
        nodes,
        allocations: value("--allocations", 1_000),
        copies: value("--copies", 4).clamp(1, nodes.max(1)),
        silent: value("--silent", 5),
        calm: value("--calm", 3),
    }
}

fn main() -> anyhow::Result<()> {
    // Each node has a connection, at both of its ends; children inherit the limit.
    let files = Resource::RLIMIT_NOFILE;
    let (_, hard) = getrlimit(files)?;
    setrlimit(files, hard, hard)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&arguments()))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!("load before: {}", cost::load());
    let repo = Repository::new();
    repo.write("README", "jobs for a measurement");
    repo.commit("nothing yet");
    let servers = Servers::start(repo.path())?;
    let token = servers.token()?;
    // Until the three vote.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let begun = Instant::now();
    let nodes = join(&servers, arguments.nodes, &token).await?;
    println!("{} nodes joined in {:.1?}", nodes.len(), begun.elapsed());
    let copies = follow(&servers, &nodes, arguments.copies).await?;
    let copy = copies.first().context("no copy")?;
    let (leader, leads) = watch::channel(leading(copy).await);
    let follows = copy.clone();
    tokio::spawn(async move {
        loop {
            let now = leading(&follows).await;
            leader.send_if_modified(|known| {
                let changed = *known != now;
                if changed {
                    println!("another server leads now: {now}");
                    known.clone_from(&now);
                }
                changed
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });

    let pid = servers.pid(&leads.borrow())?;
    let (begun, used) = (Instant::now(), cost::cpu(pid));
    let mut registering = JoinSet::new();
    for node in &nodes {
        if registering.len() >= AT_ONCE {
            registering.join_next().await.context("one")???;
        }
        let (node, leads) = (Arc::clone(node), leads.clone());
        registering.spawn(async move { node.register(&leads).await });
    }
    while let Some(done) = registering.join_next().await {
        done??;
    }
    println!(
        "registered in {:.1?}, leader's CPU {:.2} ms each",
        begun.elapsed(),
        (cost::cpu(pid) - used).as_secs_f64() * 1e3 / nodes.len() as f64
    );
    let mut beats = HashMap::new();
    let all = Arc::new(servers.addresses()?);
    for node in &nodes {
        let (id, node, all) = (node.id, Arc::clone(node), Arc::clone(&all));
        beats.insert(id, tokio::spawn(async move { node.beat(all).await }));
    }
    if arguments.allocations > 0 {
        roll_out(arguments, &repo, &nodes, &copies, (&servers, &leads)).await?;
    }
    tokio::time::sleep(Duration::from_secs(arguments.calm as u64)).await;
    rest(&servers, &leads, nodes.len()).await?;
    fall_silent(arguments, &nodes, copy, &mut beats).await?;
    println!("load after: {}", cost::load());
    Ok(())
}

async fn join(servers: &Servers, count: usize, token: &str) -> anyhow::Result<Vec<Arc<Simulated>>> {
    let server = servers.addresses()?.first().context("no server")?.clone();
    let mut nodes = Vec::with_capacity(count);
    let mut joining = JoinSet::new();
    for number in 0..count {
        // Strangers are let in a few dozen at a time.
        if joining.len() >= AT_ONCE / 2 {
            nodes.push(Arc::new(joining.join_next().await.context("one")???));
        }
        let (token, server) = (token.to_owned(), server.clone());
        joining.spawn(async move { Simulated::join(number as u64, &token, &server).await });
    }
    while let Some(done) = joining.join_next().await {
        nodes.push(Arc::new(done??));
    }
    Ok(nodes)
}

/// Copies of the state, each in the name of one of the nodes.
async fn follow(
    servers: &Servers,
    nodes: &[Arc<Simulated>],
    count: usize,
) -> anyhow::Result<Vec<Consensus>> {
    let (known, addresses) = watch::channel(servers.addresses()?);
    let mut copies = Vec::new();
    for node in nodes.iter().take(count) {
        let dir = servers.dir().join(format!("copy-{}", node.number));
        let mut options = FollowOptions::new(dir, node.number, addresses.clone(), node.transport());
        options.member.cluster = node.cluster.to_string();
        copies.push(Consensus::follow(options).await?);
    }
    drop(known);
    Ok(copies)
}

async fn leading(copy: &Consensus) -> String {
    loop {
        if let Some(leader) = copy.leader().filter(|leader| !leader.address.is_empty()) {
            return leader.address;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reports what is new for these nodes by their copy, each node for itself, gathered for a moment as agents do it.
async fn report(copy: Consensus, nodes: Vec<Arc<Simulated>>, leads: watch::Receiver<String>) {
    let mut index = copy.index();
    let mut known = HashSet::new();
    let mut reports = JoinSet::new();
    while index.changed().await.is_ok() {
        tokio::time::sleep(GATHER).await;
        index.mark_unchanged();
        let state = copy.state();
        for node in &nodes {
            let new: Vec<_> = state
                .allocs_on_node(node.id)
                .filter(|alloc| alloc.client == ClientStatus::Pending && known.insert(alloc.id))
                .cloned()
                .collect();
            if new.is_empty() {
                continue;
            }
            let (node, leads) = (Arc::clone(node), leads.clone());
            reports.spawn(async move {
                if let Err(error) = node.report(&leads, &new).await {
                    eprintln!("a report was lost: {error:#}");
                }
            });
        }
        while reports.try_join_next().is_some() {}
    }
}

/// From a commit until all of its allocations run, each reported by its own node as soon as the node's copy has it.
async fn roll_out(
    arguments: &Arguments,
    repo: &Repository,
    nodes: &[Arc<Simulated>],
    copies: &[Consensus],
    (servers, leads): (&Servers, &watch::Receiver<String>),
) -> anyhow::Result<()> {
    let mut reporters = JoinSet::new();
    for (at, copy) in copies.iter().enumerate() {
        let own: Vec<_> = nodes.iter().skip(at).step_by(copies.len()).map(Arc::clone).collect();
        reporters.spawn(report(copy.clone(), own, leads.clone()));
    }
    let pid = servers.pid(&leads.borrow())?;
    let others: Vec<u32> = servers
        .addresses()?
        .iter()
        .filter_map(|at| servers.pid(at).ok())
        .filter(|of| *of != pid)
        .collect();
    let used = cost::cpu(pid);
    let used_by_others: Duration = others.iter().map(|pid| cost::cpu(*pid)).sum();
    repo.write("big.nomad", job(arguments.allocations));
    repo.commit("a big job");
    let begun = Instant::now();
    let copy = copies.first().context("a copy")?;
    let mut placed = None;
    loop {
        let state = copy.state();
        let (mut all, mut running) = (0, 0);
        for alloc in state.allocs() {
            all += 1;
            running += usize::from(alloc.client == ClientStatus::Running);
        }
        if all >= arguments.allocations && placed.is_none() {
            placed = Some(begun.elapsed());
        }
        if running >= arguments.allocations {
            break;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{running} of {all} run; giving up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    let spent: Duration = others.iter().map(|pid| cost::cpu(*pid)).sum();
    println!(
        "{} allocations over {} nodes, {} copies: commit → all placed {:.2?}, commit → all run {took:.2?}, leader's CPU \
         {:.2?}, the other servers' {:.2?}, leader's own memory {} MiB",
        arguments.allocations,
        nodes.len(),
        copies.len(),
        placed.unwrap_or(took),
        cost::cpu(pid) - used,
        spent - used_by_others,
        cost::memory(pid)
    );
    reporters.abort_all();
    Ok(())
}

fn job(count: usize) -> String {
    format!(
        r#"
job "big" {{
  group "g" {{
    count = {count}
    constraint {{
      attribute = "${{node.class}}"
      value     = "{CLASS}"
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/true"
      }}
      resources {{
        cpu    = 10
        memory = 16
      }}
    }}
  }}
}}
"#
    )
}

async fn rest(
    servers: &Servers,
    leads: &watch::Receiver<String>,
    nodes: usize,
) -> anyhow::Result<()> {
    let pid = servers.pid(&leads.borrow())?;
    let (begun, used) = (Instant::now(), cost::cpu(pid));
    tokio::time::sleep(REST).await;
    let (took, used) = (begun.elapsed(), cost::cpu(pid) - used);
    println!(
        "at rest, {nodes} nodes: leader's CPU {:.1} % of a core, {:.0} µs for each heartbeat; own memory {} MiB; load {}",
        100.0 * used.as_secs_f64() / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / (nodes as f64 * 2.0 * took.as_secs_f64()),
        cost::memory(pid),
        cost::load()
    );
    Ok(())
}

/// Some nodes say nothing any more, all at once.
async fn fall_silent(
    arguments: &Arguments,
    nodes: &[Arc<Simulated>],
    copy: &Consensus,
    beats: &mut HashMap<NodeId, tokio::task::JoinHandle<()>>,
) -> anyhow::Result<()> {
    // Not those in whose name a copy follows.
    let silent: Vec<NodeId> =
        nodes.iter().rev().take(arguments.silent).map(|node| node.id).collect();
    let away = |status| {
        let state = copy.state();
        silent.iter().filter(|id| state.node(**id).is_some_and(|n| n.status == status)).count()
    };
    let others = copy.state().nodes().filter(|node| node.status != NodeStatus::Ready).count();
    println!("not ready before: {others}");
    for id in &silent {
        if let Some(beat) = beats.remove(id) {
            beat.abort();
        }
    }
    let begun = Instant::now();
    let mut first = None;
    while away(NodeStatus::Ready) > 0 {
        if first.is_none() && away(NodeStatus::Down) > 0 {
            first = Some(begun.elapsed());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "they are not missed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let last = begun.elapsed();
    println!(
        "{} nodes fell silent: down after {:.2?} (first), {last:.2?} (last)",
        silent.len(),
        first.unwrap_or(last)
    );
    Ok(())
}
