//! When this node looks at a remote among all that do, and what it tells the leader of what it saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consensus::Consensus;
use gitrepo::{FetchError, Head, History, RepoConfig, Turns};
use model::{CommitId, Node, NodeId, NodeStatus, Timestamp};
use rpc::{Class, Client};
use server::{HostLimits, next_turn};
use state::State;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::limits::Hosts;
use super::messages::{HEAD_SEEN, HOST_REFUSES, HeadSeen, HostRefuses, encode};

/// What was seen and not told yet.
const QUEUE: usize = 64;
/// How long the leader may take: before it answers it looks at the remote, and may ask this node for what it saw.
const LIMIT: Duration = Duration::from_secs(240);
/// The wait before the leader is told again, doubled up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What this node saw.
#[derive(Debug)]
pub(crate) enum Saw {
    Head(HeadSeen),
    Refusal(HostRefuses),
}

/// Where this node's place among those that look follows from.
pub(crate) struct FleetTurns {
    own: NodeId,
    consensus: Consensus,
    hosts: Arc<Hosts>,
    news: mpsc::Sender<Saw>,
}

impl FleetTurns {
    /// And what it sees, for [`tell`].
    pub(crate) fn new(
        own: NodeId,
        consensus: Consensus,
        hosts: Arc<Hosts>,
    ) -> (Self, mpsc::Receiver<Saw>) {
        let (news, seen) = mpsc::channel(QUEUE);
        (Self { own, consensus, hosts, news }, seen)
    }
}

impl Turns for FleetTurns {
    fn wait(&self, config: &RepoConfig, history: &History, alone: Duration) -> Duration {
        let now = crate::clock::now();
        let limits = self.hosts.of(config.url.host(), now);
        wait(&self.consensus.state(), self.own, config, (history, alone), limits, now)
    }

    fn saw(&self, config: &RepoConfig, result: &Result<Head, FetchError>) {
        if config.url.local_path().is_some() {
            // Another node's folder of that name is another repository.
            return;
        }
        let news = match result {
            Ok(head) => {
                let commit = head.commit.id.clone();
                if is_known(&self.consensus.state(), &config.name, &commit) {
                    return;
                }
                let (repo, branch) = (config.name.clone(), head.branch.clone());
                Saw::Head(HeadSeen { repo, commit, branch })
            }
            Err(FetchError::RateLimited { retry_after, .. }) => {
                let host = config.url.host().to_owned();
                self.hosts.refused(&host, *retry_after, crate::clock::now());
                Saw::Refusal(HostRefuses { host, retry_after: *retry_after })
            }
            Err(_) => return,
        };
        // Where the queue is full the leader does not answer; it is told with a later look.
        drop(self.news.try_send(news));
    }
}

/// The log holds that commit already.
fn is_known(state: &State, repo: &str, commit: &CommitId) -> bool {
    state.repo(repo).is_some_and(|record| record.head.as_ref() == Some(commit))
}

/// How long to wait; as one that is alone, if no other node follows the repository or it is a folder that is watched.
fn wait(
    state: &State,
    own: NodeId,
    config: &RepoConfig,
    (history, alone): (&History, Duration),
    mut limits: HostLimits,
    now: Timestamp,
) -> Duration {
    let follows = |node: &Node| {
        let listed = node.attributes.get(super::REPOS).map(String::as_str).unwrap_or_default();
        listed.split(',').any(|name| name == config.name)
    };
    let mut nodes: Vec<NodeId> = state
        .nodes()
        .filter(|node| node.status == NodeStatus::Ready && follows(node))
        .map(|node| node.id)
        .collect();
    nodes.sort_unstable();
    if history.local || (nodes.len() < 2 && limits.until.is_none()) {
        return alone;
    }
    if history.failures > 0 {
        // Whoever cannot look leaves the turns of a while out.
        let until = now + alone;
        limits.until = Some(limits.until.map_or(until, |said| said.max(until)));
    }
    next_turn(&config.name, &nodes, own, config.interval, limits, now)
        .map_or(alone, |turn| turn.since(now))
}

/// Tells the leader what this node sees until the agent stops.
pub(crate) async fn tell(
    mut seen: mpsc::Receiver<Saw>,
    consensus: Consensus,
    client: Arc<Client>,
    stop: CancellationToken,
) {
    let mut heads: BTreeMap<String, HeadSeen> = BTreeMap::new();
    let mut retry = RETRY;
    loop {
        let again = !heads.is_empty();
        let saw = tokio::select! {
            () = stop.cancelled() => return,
            saw = seen.recv() => match saw {
                None => return,
                Some(saw) => Some(saw),
            },
            () = tokio::time::sleep(retry), if again => None,
        };
        match saw {
            Some(Saw::Head(head)) => {
                retry = RETRY;
                heads.insert(head.repo.clone(), head);
            }
            Some(Saw::Refusal(refusal)) => {
                if !consensus.is_leader() {
                    tell_leader(&consensus, &client, HOST_REFUSES, encode(&refusal)).await;
                }
            }
            None => retry = (retry * 2).min(LONGEST_RETRY),
        }
        let state = consensus.state();
        heads.retain(|repo, head| !is_known(&state, repo, &head.commit));
        if consensus.is_leader() {
            // It takes in what it sees itself.
            heads.clear();
        }
        let mut told = Vec::new();
        for (repo, head) in &heads {
            if tell_leader(&consensus, &client, HEAD_SEEN, encode(head)).await {
                told.push(repo.clone());
            }
        }
        for repo in told {
            heads.remove(&repo);
        }
    }
}

async fn tell_leader(
    consensus: &Consensus,
    client: &Client,
    method: rpc::Method,
    body: bytes::Bytes,
) -> bool {
    let Some(leader) = consensus.leader().filter(|leader| !leader.address.is_empty()) else {
        return false;
    };
    let told = client.call(&leader.address, Class::Control, method, body, LIMIT).await;
    if let Err(error) = &told {
        tracing::debug!("what this node saw could not be told: {error}");
    }
    told.is_ok()
}

#[cfg(test)]
mod tests {
    use model::seeded_uuid;
    use state::Command;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn node(number: u32) -> Node {
        Node {
            id: NodeId::new(seeded_uuid(&[b"node", &number.to_be_bytes()])),
            attributes: [(super::super::REPOS.to_owned(), "other,fleet".to_owned())].into(),
            ..Node::default()
        }
    }

    fn fleet(nodes: impl IntoIterator<Item = Node>) -> State {
        let mut state = State::default();
        for (index, node) in (1..).zip(nodes) {
            let register = Command::RegisterNode { node: Box::new(node), at: NOW };
            assert_eq!(state.apply(index, &register).rejection, None);
        }
        state
    }

    fn config() -> RepoConfig {
        let mut config =
            RepoConfig::new("fleet", "https://git.example/fleet.git").expect("a config");
        config.interval = Duration::from_secs(30);
        config
    }

    fn waits(
        state: &State,
        of: u32,
        history: &History,
        alone: u64,
        limits: HostLimits,
    ) -> Duration {
        let alone = Duration::from_secs(alone);
        wait(state, node(of).id, &config(), (history, alone), limits, NOW)
    }

    #[test]
    fn the_first_look_comes_sooner_the_more_follow() {
        let (history, limits) = (History::default(), HostLimits::default());
        let first = |count: u32| {
            let state = fleet((0..count).map(node));
            (0..count).map(|of| waits(&state, of, &history, 30, limits)).min().expect("some")
        };
        assert_eq!(first(1), Duration::from_secs(30), "as one that is alone");
        assert!(first(3) <= Duration::from_secs(10));
        assert!(first(30) <= Duration::from_secs(1) && first(200) <= Duration::from_secs(1));
    }

    #[test]
    fn who_does_not_follow_or_is_away_has_no_turn() {
        let mut away = node(1);
        away.status = NodeStatus::Down;
        let other = Node { attributes: Default::default(), ..node(2) };
        let mut state = fleet([node(0), away.clone(), other]);
        let at = NOW;
        let down = vec![(away.id, NodeStatus::Down)];
        let said =
            Command::SetNodeStatuses { nodes: down, at, reason: String::new(), follows: None };
        assert_eq!(state.apply(4, &said).rejection, None);
        let history = History::default();
        let alone = Duration::from_secs(17);
        for of in 0..3 {
            assert_eq!(waits(&state, of, &history, 17, HostLimits::default()), alone, "{of}");
        }
    }

    #[test]
    fn a_folder_is_watched_by_everybody() {
        let state = fleet((0..9).map(node));
        let local = History { local: true, ..History::default() };
        let alone = Duration::from_secs(30);
        assert!((0..9).all(|of| waits(&state, of, &local, 30, HostLimits::default()) == alone));
    }

    #[test]
    fn limits_and_failures_put_a_turn_off() {
        let state = fleet((0..4).map(node));
        let until = NOW + Duration::from_secs(300);
        let limited = HostLimits { until: Some(until), refusals: 1 };
        let failed = History { failures: 3, ..History::default() };
        for of in 0..4 {
            let wait = waits(&state, of, &History::default(), 0, limited);
            assert!(wait > Duration::from_secs(300) && wait <= Duration::from_secs(360));
            let wait = waits(&state, of, &failed, 120, HostLimits::default());
            assert!(wait > Duration::from_secs(120) && wait <= Duration::from_secs(150));
        }
    }
}
