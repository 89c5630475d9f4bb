//! Leaders come and go; what was answered stays.

use super::*;
use crate::error::{ProposeError, ReadError};

fn quick(options: &mut Options) {
    options.patience = Duration::from_secs(20);
}

/// What a writer knows of its writes.
#[derive(Default)]
struct Log {
    answered: BTreeMap<u64, u64>,
    unknown: BTreeSet<u64>,
}

/// Writes one number after the other through whichever node is open, until told to stop.
async fn write(
    net: Arc<Net>,
    voters: Vec<u64>,
    base: u64,
    log: Arc<Mutex<Log>>,
    stop: watch::Receiver<bool>,
) {
    let mut at = base as usize;
    for number in base * 1_000_000.. {
        if *stop.borrow() {
            return;
        }
        at += 1;
        let node = net.node(&address(voters[at % voters.len()]));
        let Some(node) = node else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let result = node.propose(register(number)).await;
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(applied) => {
                let twice = log.answered.insert(number, applied.index);
                assert_eq!(twice, None, "each is written once");
            }
            Err(ProposeError::NotLeader { .. }) => {}
            Err(_) => {
                log.unknown.insert(number);
            }
        }
    }
}

/// Numbers that are written after a kill, and not counted.
const PROBES: u64 = 500_000_000;

async fn kill_leaders(seed: u64, count: u64, kills: usize) {
    let cluster = Cluster::of(seed, count, quick).await;
    let log = Arc::new(Mutex::new(Log::default()));
    let (stop, stopped) = watch::channel(false);
    let voters: Vec<u64> = (1..=count).collect();
    let mut writers = tokio::task::JoinSet::new();
    for base in 1..=4 {
        writers.spawn(write(
            cluster.net.clone(),
            voters.clone(),
            base,
            log.clone(),
            stopped.clone(),
        ));
    }
    let answered = || log.lock().unwrap_or_else(PoisonError::into_inner).answered.len();
    let mut gaps = Vec::new();
    for probe in PROBES..PROBES + kills as u64 {
        let leader = cluster.leader_among(voters.clone()).await;
        let before = answered();
        eventually("writes go on", || (answered() > before + 20).then_some(())).await;
        let others: Vec<u64> = voters.iter().copied().filter(|node| *node != leader).collect();
        cluster.net.isolate(leader, others.clone());
        let (began, survivor) = (Instant::now(), cluster.node(others[0]));
        let next = async {
            // Somebody who comes anew: what was on its way to the dead one is no measure.
            while survivor.propose(register(probe)).await.is_err() {}
            began.elapsed()
        };
        let (gap, ()) = tokio::join!(next, cluster.kill(leader));
        gaps.push(gap);
        assert_ne!(cluster.leader_among(others).await, leader);
        cluster.net.heal();
        cluster.open(leader, Start::Join).await;
    }
    stop.send_replace(true);
    while let Some(done) = timeout(LIMIT, writers.join_next()).await.expect("they end") {
        done.expect("a writer");
    }
    gaps.sort_unstable();
    println!(
        "{count} voters, leader killed {kills} times; next write after: median {:?}, max {:?}",
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1]
    );
    let leader = cluster.leader_among(voters.clone()).await;
    cluster.node(leader).propose(register(0)).await.expect("it goes on");
    cluster.caught_up(voters).await;
    assert_equal(&cluster.nodes());
    let state = cluster.node(leader).state();
    let log = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
    for (number, index) in &log.answered {
        let node = state.node(node_id(*number)).unwrap_or_else(|| panic!("{number} was answered"));
        assert_eq!(node.modify_index, *index, "{number} was written once, and then");
    }
    let answered: BTreeSet<u64> = log.answered.values().copied().collect();
    assert_eq!(answered.len(), log.answered.len(), "no two share an entry");
    for node in state.nodes() {
        let number = u64::try_from(node.id.uuid().as_u128()).expect("one of ours");
        if number == 0 || number >= PROBES {
            continue;
        }
        let known = log.answered.contains_key(&number) || log.unknown.contains(&number);
        assert!(known, "{number} was refused, and yet is there");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_voters_lose_nothing_that_was_answered_when_leaders_die() {
    kill_leaders(1, 3, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_voters_lose_nothing_that_was_answered_when_leaders_die() {
    kill_leaders(2, 5, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_takes_no_writes_and_answers_no_reads() {
    let cluster = Cluster::of(3, 3, |options| options.patience = Duration::from_secs(3)).await;
    let leader = cluster.leader_among(1..=3).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    cluster.node(leader).propose(register(1)).await.expect("all is well");
    cluster.net.isolate(leader, others.clone());
    let cut_off = cluster.node(leader);
    let (written, read) = tokio::join!(cut_off.propose(register(2)), cut_off.linearizable());
    assert!(
        matches!(
            written,
            Err(ProposeError::Timeout { .. }
                | ProposeError::NotLeader { .. }
                | ProposeError::Unknown)
        ),
        "{written:?}"
    );
    assert!(matches!(read, Err(ReadError::NoQuorum(_) | ReadError::NotLeader { .. })), "{read:?}");
    assert!(cut_off.state().node(node_id(2)).is_none(), "it is not shown either");

    let new = cluster.leader_among(others.clone()).await;
    for node in &others {
        let applied = cluster.node(*node).propose(register(10 + node)).await.expect("two of three");
        assert_eq!(applied.rejection, None);
        cluster.node(*node).linearizable().await.expect("two of three");
        assert!(cluster.node(*node).state().node(node_id(10 + node)).is_some(), "it reads its own");
    }
    cluster.net.heal();
    assert_ne!(new, leader);
    cut_off.linearizable().await.expect("it asks the new leader");
    for node in others {
        assert!(cut_off.state().node(node_id(10 + node)).is_some(), "it sees what it missed");
    }
    cluster.node(new).propose(register(3)).await.expect("it goes on");
    cluster.caught_up(1..=3).await;
    assert_equal(&cluster.nodes());
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_hands_on_what_it_is_asked_with_its_rejection() {
    let cluster = Cluster::of(4, 3, quick).await;
    let leader = cluster.leader_among(1..=3).await;
    let follower = cluster.node((1..=3).find(|node| *node != leader).expect("two follow"));
    let mut events = follower.subscribe();
    let applied = follower.propose(register(5)).await.expect("the leader takes it");
    assert_eq!(applied.rejection, None);
    assert!(follower.state().node(node_id(5)).is_some(), "who writes can read it");
    let event = events.next().await.expect("it comes here too");
    assert_eq!(event.index, applied.index);
    let nobody = Command::SetNodeStatus {
        node: node_id(99),
        status: model::NodeStatus::Down,
        at: Timestamp::default(),
    };
    let here = follower.propose(nobody.clone()).await.expect("it is answered").rejection;
    let there = cluster.node(leader).propose(nobody).await.expect("it is answered").rejection;
    assert!(here.is_some());
    assert_eq!(here, there, "word for word");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_leaves_hands_over_at_once() {
    let cluster = Cluster::of(5, 3, quick).await;
    let leader = cluster.leader_among(1..=3).await;
    let other = (1..=3).find(|node| *node != leader).expect("two follow");
    // Asked of whom it does not concern.
    cluster.node(6 - leader - other).transfer(other).await.expect("it leads now");
    assert_eq!(cluster.leader_among(1..=3).await, other);
    cluster.node(leader).propose(register(1)).await.expect("the new one takes it");
    cluster.close().await;
}

#[tokio::test]
async fn requests_for_others_are_refused() {
    let cluster = Cluster::new(6);
    let node = cluster.open(1, Start::Bootstrap).await;
    for (cluster_name, to) in [("herder", 2), ("another", 1)] {
        let envelope = crate::wire::Envelope {
            cluster: cluster_name.to_owned(),
            to: Some(to),
            from: 3,
            body: crate::wire::Request::Members,
        };
        let request = envelope.encode().expect("it encodes");
        assert!(node.answer(request).await.is_err(), "{cluster_name} {to}");
    }
    assert!(node.answer(Bytes::from_static(b"\x01rubbish")).await.is_err());
    cluster.close().await;
}

#[tokio::test]
async fn a_worker_may_follow_but_not_lead() {
    use crate::membership::Change;
    use crate::wire::{Envelope, Request};
    let cluster = Cluster::new(7);
    let node = cluster.open(1, Start::Bootstrap).await;
    let ask = |body| {
        let envelope = Envelope { cluster: "herder".to_owned(), to: None, from: 3, body };
        node.answer_worker(envelope.encode().expect("it encodes"), |_| Ok(()))
    };
    for forbidden in [
        Request::Vote { vote: [99, 3, 0], last: None, transfer: false },
        Request::Append { vote: [99, 3, 1], previous: None, committed: None, entries: Vec::new() },
        Request::Change(Change::AddLearner(member(3))),
    ] {
        let error = ask(forbidden).await.expect_err("it is no server");
        assert!(error.to_string().contains("node 3"), "{error}");
    }
    ask(Request::Members).await.expect("it may look");
    ask(Request::Follow { after: None, wait_ms: 0 }).await.expect("it may follow");
    assert!(node.is_leader(), "nothing has changed");
    cluster.close().await;
}
