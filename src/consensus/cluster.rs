//! Several members in one process, over a wire that does what a seed and a test tell it to.

mod checker;
mod faults;
mod format;
mod history;
mod membership;
mod replicas;
mod voters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::{Node, NodeId, Timestamp};
use state::Command;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Consensus, FollowOptions, Following, MAX_MESSAGE_BYTES, Member, Options, Start, Transport,
    TransportError,
};

/// A test that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// How the wire behaves.
#[derive(Default)]
struct Weather {
    nodes: BTreeMap<String, Consensus>,
    /// What does not get from one to the other.
    cut: BTreeSet<(u64, u64)>,
    /// Of a thousand messages, how many get lost.
    lost: u64,
    /// The longest that a message is under way; each takes its own time, so they overtake each other.
    delay: Duration,
}

/// The wire between all nodes.
#[derive(Default)]
struct Net {
    weather: Mutex<Weather>,
    chance: AtomicU64,
    pieces: AtomicU64,
}

/// One node's end of it.
struct End {
    net: Arc<Net>,
    from: u64,
}

fn address(node: u64) -> String {
    format!("node-{node}")
}

fn number(address: &str) -> u64 {
    address.trim_start_matches("node-").parse().expect("an address of a test")
}

impl Net {
    fn weather(&self) -> std::sync::MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next random number (splitmix64).
    fn roll(&self, sides: u64) -> u64 {
        let mut z = self.chance.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides.max(1)
    }

    /// Whether a message arrives, after its time.
    async fn carry(&self, from: u64, to: u64) -> bool {
        let (cut, lost, delay) = {
            let weather = self.weather();
            (weather.cut.contains(&(from, to)), weather.lost, weather.delay)
        };
        let delay = u64::try_from(delay.as_micros()).expect("short");
        if delay > 0 {
            sleep(Duration::from_micros(self.roll(delay))).await;
        }
        !cut && (lost == 0 || self.roll(1_000) >= lost)
    }

    fn node(&self, address: &str) -> Option<Consensus> {
        self.weather().nodes.get(address).cloned()
    }

    fn cut(&self, from: u64, to: u64) {
        self.weather().cut.insert((from, to));
    }

    fn isolate(&self, node: u64, others: impl IntoIterator<Item = u64>) {
        for other in others {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    fn heal(&self) {
        let mut weather = self.weather();
        weather.cut.clear();
        weather.lost = 0;
        weather.delay = Duration::ZERO;
    }
}

#[async_trait]
impl Transport for End {
    async fn send(
        &self,
        address: &str,
        bulk: bool,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        let lost = || TransportError::NoAnswer("lost".to_owned());
        let to = number(address);
        assert!(request.len() <= MAX_MESSAGE_BYTES, "{} bytes", request.len());
        if bulk {
            self.net.pieces.fetch_add(1, Ordering::Relaxed);
        }
        let exchange = async {
            if !self.net.carry(self.from, to).await {
                std::future::pending::<()>().await;
            }
            let Some(node) = self.net.node(address) else {
                return Err(TransportError::Unreachable("nobody is there".to_owned()));
            };
            let answer = node.answer(request).await;
            drop(node);
            if !self.net.carry(to, self.from).await {
                std::future::pending::<()>().await;
            }
            let size = answer.as_ref().map_or(0, Bytes::len);
            assert!(size <= MAX_MESSAGE_BYTES, "{size} bytes");
            answer.map_err(|error| TransportError::Refused(error.to_string()))
        };
        timeout(limit, exchange).await.map_err(|_| lost())?
    }
}

/// A cluster with its folders.
struct Cluster {
    dir: TempDir,
    net: Arc<Net>,
    servers: watch::Sender<Vec<String>>,
    tune: fn(&mut Options),
}

impl Cluster {
    fn new(seed: u64) -> Self {
        Self::tuned(seed, |_| {})
    }

    fn tuned(seed: u64, tune: fn(&mut Options)) -> Self {
        let net = Arc::new(Net::default());
        net.chance.store(seed.wrapping_mul(0x2545_F491_4F6C_DD1D), Ordering::Relaxed);
        let dir = tempfile::tempdir().expect("a folder");
        let (servers, _) = watch::channel(Vec::new());
        Self { dir, net, servers, tune }
    }

    /// A cluster of these voters, the first of which leads.
    async fn of(seed: u64, count: u64, tune: fn(&mut Options)) -> Self {
        let cluster = Self::tuned(seed, tune);
        let first = cluster.open(1, Start::Bootstrap).await;
        for node in 2..=count {
            cluster.open(node, Start::Join).await;
            first.add_learner(member(node)).await.expect("it is added");
        }
        cluster.answering(&first, 1..=count).await;
        first.set_voters((1..=count).collect()).await.expect("they vote");
        cluster
    }

    fn transport(&self, node: u64) -> Arc<dyn Transport> {
        Arc::new(End { net: self.net.clone(), from: node })
    }

    fn options(&self, node: u64, start: Start) -> Options {
        let mut options = Options::new(self.dir.path().join(format!("{node}/raft")), node);
        options.address = address(node);
        options.start = start;
        options.transport = Some(self.transport(node));
        (self.tune)(&mut options);
        options
    }

    async fn open_with(&self, options: Options) -> Consensus {
        let address = options.address.clone();
        let consensus = Consensus::open(options).await.expect("it opens");
        self.net.weather().nodes.insert(address, consensus.clone());
        consensus
    }

    async fn open(&self, node: u64, start: Start) -> Consensus {
        self.open_with(self.options(node, start)).await
    }

    fn following(&self, node: u64) -> Following {
        let dir = self.dir.path().join(format!("{node}/replica"));
        Following { dir, servers: self.servers.subscribe() }
    }

    async fn follow(&self, node: u64) -> Consensus {
        let dir = self.dir.path().join(node.to_string());
        let servers = self.servers.subscribe();
        let mut options = FollowOptions::new(dir, node, servers, self.transport(node));
        options.member.address = address(node);
        (self.tune)(&mut options.member);
        let consensus = Consensus::follow(options).await.expect("it follows");
        self.net.weather().nodes.insert(address(node), consensus.clone());
        consensus
    }

    fn tell_servers(&self, nodes: impl IntoIterator<Item = u64>) {
        self.servers.send_replace(nodes.into_iter().map(address).collect());
    }

    fn node(&self, node: u64) -> Consensus {
        self.net.node(&address(node)).expect("it is open")
    }

    fn nodes(&self) -> Vec<Consensus> {
        self.net.weather().nodes.values().cloned().collect()
    }

    /// As the others see it: from one moment to the next it is gone.
    async fn kill(&self, node: u64) {
        let gone = self.net.weather().nodes.remove(&address(node)).expect("it is open");
        gone.close().await;
    }

    async fn restart(&self, node: u64) -> Consensus {
        self.kill(node).await;
        self.open(node, Start::Join).await
    }

    /// Waits until one of these leads and all of them agree on who.
    async fn leader_among(&self, nodes: impl IntoIterator<Item = u64> + Clone) -> u64 {
        eventually("they agree on a leader among them", || {
            let among: Vec<u64> = nodes.clone().into_iter().collect();
            let seen: BTreeSet<Option<u64>> = among
                .iter()
                .map(|node| self.node(*node).leader().map(|leader| leader.node))
                .collect();
            let leader = seen.first().copied().flatten()?;
            let leads = among.contains(&leader) && self.node(leader).is_leader();
            (seen.len() == 1 && leads).then_some(leader)
        })
        .await
    }

    /// Waits until the leader has heard of all of these, and that they have what it has.
    async fn answering(&self, leader: &Consensus, nodes: impl IntoIterator<Item = u64>) {
        let wanted: BTreeSet<u64> = nodes.into_iter().collect();
        eventually("the leader has heard of all", || {
            let last = leader.metrics().last_log;
            let members = leader.members();
            let there = members.iter().filter(|member| {
                member.matched >= last
                    && member.last_contact.is_some_and(|ago| ago < Duration::from_millis(500))
            });
            let there: BTreeSet<u64> = there.map(|member| member.node).collect();
            wanted.is_subset(&there).then_some(())
        })
        .await;
    }

    /// Waits until all of these have applied what any of them has.
    async fn caught_up(&self, nodes: impl IntoIterator<Item = u64>) {
        let nodes: Vec<Consensus> = nodes.into_iter().map(|node| self.node(node)).collect();
        eventually("all have applied the same", || {
            let indexes: BTreeSet<u64> = nodes.iter().map(|node| node.state().index()).collect();
            (indexes.len() == 1).then_some(())
        })
        .await;
    }

    async fn close(self) {
        let nodes = std::mem::take(&mut self.net.weather().nodes);
        for (_, node) in nodes {
            node.close().await;
        }
    }
}

fn member(node: u64) -> Member {
    Member { node, address: address(node) }
}

/// Waits for what a test wants to see. Says what it was if it never comes.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn node_id(number: u64) -> NodeId {
    NodeId::new(uuid::Uuid::from_u128(number.into()))
}

fn register(number: u64) -> Command {
    named(number, format!("machine-{number:06}"))
}

fn named(number: u64, name: String) -> Command {
    let node = Node { id: node_id(number), name, ..Node::default() };
    Command::RegisterNode { node: Box::new(node), at: Timestamp::default() }
}

fn bytes(consensus: &Consensus) -> Vec<u8> {
    consensus.state().to_bytes().expect("the state can be written")
}

/// Asserts that all of these are equal at the index that they have all reached.
fn assert_equal(nodes: &[Consensus]) {
    let states: Vec<Vec<u8>> = nodes.iter().map(bytes).collect();
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "equal index, equal state");
}
