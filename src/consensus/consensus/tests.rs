//! What the room promises, on real files.

use std::fs;
use std::sync::atomic::Ordering;

use model::{Node, NodeId, NodeStatus, Timestamp};
use state::Command;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::error::{ProposeError, ReadError};
use crate::seat::{WAIT_LIMIT, needs_clock};
use crate::status::Role;
use crate::subscription::SubscriptionError;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn options(dir: &TempDir) -> Options {
    Options::new(dir.path().join("raft"), 1)
}

async fn open(dir: &TempDir) -> Consensus {
    Consensus::open(options(dir)).await.expect("it opens")
}

fn node_id(number: u128) -> NodeId {
    NodeId::new(uuid::Uuid::from_u128(number))
}

fn register(number: u128) -> Command {
    let name = format!("machine-{number:06}");
    let node = Node { id: node_id(number), name, ..Node::default() };
    Command::RegisterNode { node: Box::new(node), at: Timestamp::default() }
}

fn bytes(consensus: &Consensus) -> Vec<u8> {
    consensus.state().to_bytes().expect("the state can be written")
}

#[tokio::test]
async fn a_proposal_changes_the_state() {
    let dir = folder();
    let consensus = open(&dir).await;
    assert!(consensus.is_leader());
    assert_eq!(consensus.leader().map(|leader| leader.node), Some(1));
    let index = consensus.index();
    let applied = consensus.propose(register(1)).await.expect("it is applied");
    assert_eq!(applied.rejection, None);
    assert!(consensus.state().node(node_id(1)).is_some());
    assert_eq!(consensus.state().index(), applied.index);
    assert_eq!(*index.borrow(), applied.index);
    consensus.linearizable().await.expect("a sole voter can answer");
    let status = consensus.metrics();
    assert_eq!((status.role, status.voters), (Role::Leader, vec![1]));
    consensus.close().await;
}

#[tokio::test]
async fn a_sole_voter_leads_from_the_start_until_it_stops() {
    let dir = folder();
    let consensus = open(&dir).await;
    let mut leads = consensus.leadership();
    assert!(*leads.borrow_and_update());
    consensus.close().await;
    leads.wait_for(|leads| !leads).await.map(drop).unwrap_or_default();
}

#[tokio::test]
async fn a_rejection_is_an_answer() {
    let dir = folder();
    let consensus = open(&dir).await;
    let command = Command::SetNodeStatus {
        node: node_id(7),
        status: NodeStatus::Down,
        at: Timestamp::default(),
    };
    let applied = consensus.propose(command).await.expect("it is applied");
    assert!(applied.rejection.is_some());
    consensus.close().await;
}

#[tokio::test]
async fn too_large_a_command_is_refused_in_words() {
    let dir = folder();
    let consensus = open(&dir).await;
    let node = Node { name: "x".repeat(MAX_COMMAND_BYTES), ..Node::default() };
    let command = Command::RegisterNode { node: Box::new(node), at: Timestamp::default() };
    let error = consensus.propose(command).await.expect_err("it is too large");
    assert!(matches!(error, ProposeError::TooLarge { .. }), "{error}");
    consensus.close().await;
}

#[tokio::test]
async fn the_state_is_there_again_after_a_restart() {
    let dir = folder();
    let consensus = open(&dir).await;
    for number in 0..50 {
        consensus.propose(register(number)).await.expect("it is applied");
    }
    let before = bytes(&consensus);
    consensus.close().await;
    for _ in 0..3 {
        let consensus = open(&dir).await;
        assert_eq!(bytes(&consensus), before);
        consensus.close().await;
    }
}

#[test]
fn what_was_answered_outlives_a_runtime_that_vanishes() {
    let dir = folder();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = runtime.block_on(async {
        let consensus = open(&dir).await;
        for number in 0..200 {
            consensus.propose(register(number)).await.expect("it is applied");
        }
        let before = bytes(&consensus);
        // Leaves the runtime with everything still running.
        std::mem::forget(consensus);
        before
    });
    drop(runtime);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let consensus = open(&dir).await;
        assert_eq!(bytes(&consensus), before);
        consensus.close().await;
    });
}

const CHILD: &str = "HERDER_TEST_CONSENSUS_CHILD";

/// Not a test by itself: the process that the next one kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let consensus = Consensus::open(Options::new(dir, 1)).await.expect("it opens");
        for number in 0.. {
            consensus.propose(register(number)).await.expect("it is applied");
            println!("applied {number}");
        }
    });
}

#[tokio::test]
async fn what_was_answered_outlives_kill_9() {
    use std::io::{BufRead, BufReader};
    let dir = folder();
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, options(&dir).dir)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut answered = 0;
    for line in stdout.lines() {
        if let Some((_, number)) = line.expect("a line").split_once("applied ") {
            answered = number.parse().expect("a number");
        }
        if answered >= 100 {
            break;
        }
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert!(answered >= 100, "the child ended early at {answered}");
    let consensus = open(&dir).await;
    let state = consensus.state();
    for number in 0..=answered {
        assert!(state.node(node_id(number)).is_some(), "{number} was answered and is gone");
    }
    let applied = consensus.propose(register(1_000_000)).await.expect("it goes on");
    assert_eq!(applied.rejection, None);
    consensus.close().await;
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_log() {
    let dir = folder();
    let small = || Options { snapshot_after: 100, keep_entries: 10, ..options(&dir) };
    let consensus = Consensus::open(small()).await.expect("it opens");
    for number in 0..450 {
        consensus.propose(register(number)).await.expect("it is applied");
    }
    let index = consensus.snapshot().await.expect("it is written");
    assert_eq!(Some(index), consensus.metrics().applied);
    let wait = consensus.seat().expect("a member").raft.wait(Some(WAIT_LIMIT));
    let purged = wait
        .metrics(|metrics| metrics.purged.is_some_and(|id| id.index >= 300), "the log is purged");
    purged.await.expect("it is purged");
    let before = bytes(&consensus);
    consensus.close().await;

    let consensus = Consensus::open(small()).await.expect("it opens");
    assert_eq!(bytes(&consensus), before);
    assert!(consensus.metrics().purged >= Some(300));
    consensus.propose(register(1_000)).await.expect("it goes on");
    let after = bytes(&consensus);
    consensus.close().await;

    let consensus = Consensus::open(small()).await.expect("it opens");
    assert_eq!(bytes(&consensus), after);
    consensus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_under_load_and_a_close_in_the_midst_lose_nothing_that_was_answered() {
    const ROUNDS: u128 = 4;
    const WRITERS: u128 = 16;
    let dir = folder();
    let small = || Options { snapshot_after: 50, keep_entries: 20, ..options(&dir) };
    let answered = std::sync::Mutex::new(Vec::new());
    let answered = Arc::new(answered);
    let mut shown = 0;
    for round in 0..ROUNDS {
        let consensus = Consensus::open(small()).await.expect("it opens");
        assert!(consensus.state().index() >= shown, "the index never goes back");
        let state = consensus.state();
        for number in answered.lock().expect("nobody panicked").iter() {
            assert!(state.node(node_id(*number)).is_some(), "{number} was answered");
        }
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (consensus, answered) = (consensus.clone(), answered.clone());
            writers.spawn(async move {
                for step in 0.. {
                    let number = (round * WRITERS + writer) * 1_000_000 + step;
                    match consensus.propose(register(number)).await {
                        Ok(_) => answered.lock().expect("nobody panicked").push(number),
                        Err(ProposeError::Stopped { .. }) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let mut index = consensus.index();
        let target = *index.borrow() + 400;
        index.wait_for(|index| *index >= target).await.expect("it goes on");
        shown = consensus.state().index();
        timeout(WAIT_LIMIT, consensus.close()).await.expect("it ends under load");
        while let Some(done) = timeout(WAIT_LIMIT, writers.join_next()).await.expect("they end") {
            done.expect("it was told that the node stopped");
        }
    }
    let consensus = Consensus::open(small()).await.expect("it opens");
    let state = consensus.state();
    let answered = answered.lock().expect("nobody panicked").clone();
    assert!(answered.iter().all(|number| state.node(node_id(*number)).is_some()));
    assert!(consensus.metrics().purged > Some(400), "{:?}", consensus.metrics().purged);
    consensus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_at_once_share_flushes_and_are_applied_once() {
    const COUNT: u128 = 2_000;
    let dir = folder();
    let consensus = open(&dir).await;
    let mut events = consensus.subscribe();
    let start = consensus.metrics().storage;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..COUNT {
        let consensus = consensus.clone();
        tasks.spawn(async move { consensus.propose(register(number)).await });
    }
    let mut indexes = Vec::new();
    while let Some(applied) = tasks.join_next().await {
        indexes.push(applied.expect("it does not panic").expect("it is applied").index);
    }
    indexes.sort_unstable();
    let mut seen = Vec::new();
    while let Some(applied) = events.try_next().expect("nothing was missed") {
        seen.push(applied.index);
    }
    assert_eq!(seen, indexes, "each once, in the order of the log");
    assert!(indexes.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(consensus.state().nodes().count(), COUNT as usize);
    let used = consensus.metrics().storage;
    assert_eq!(used.entries - start.entries, COUNT as u64);
    let fsyncs = used.fsyncs - start.fsyncs;
    assert!(fsyncs < 500, "{fsyncs} flushes for {COUNT} commands");
    consensus.close().await;
}

#[tokio::test]
async fn a_slow_reader_is_told_and_can_go_on() {
    let dir = folder();
    let consensus = open(&dir).await;
    let mut events = consensus.subscribe();
    let mut quick = consensus.subscribe();
    let reader = tokio::spawn(async move {
        let mut last = 0;
        for _ in 0..=CAPACITY {
            let applied = quick.next().await.expect("it keeps up");
            assert!(applied.index > last);
            last = applied.index;
        }
        last
    });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..=CAPACITY as u128 {
        let consensus = consensus.clone();
        tasks.spawn(async move { consensus.propose(register(number)).await.map(drop) });
        if tasks.len() == 100 {
            while let Some(done) = tasks.join_next().await {
                done.expect("it does not panic").expect("it is applied");
            }
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("it does not panic").expect("it is applied");
    }
    assert_eq!(reader.await.expect("it saw all"), consensus.state().index());
    assert_eq!(events.next().await, Err(SubscriptionError::Lagged));
    let mut last = 0;
    while let Some(applied) = events.try_next().expect("told once") {
        last = applied.index;
    }
    assert_eq!(last, consensus.state().index());
    consensus.close().await;
    assert_eq!(events.next().await, Err(SubscriptionError::Closed));
}

#[tokio::test]
async fn a_flipped_byte_is_found_when_the_log_is_opened() {
    let dir = folder();
    let consensus = open(&dir).await;
    for number in 0..20 {
        consensus.propose(register(number)).await.expect("it is applied");
    }
    consensus.close().await;
    let path = dir.path().join("raft/log.redb");
    let mut content = fs::read(&path).expect("it can be read");
    let name = b"machine-000007";
    let mut flipped = 0;
    for at in 0..content.len() - name.len() {
        if &content[at..at + name.len()] == name {
            content[at] ^= 1;
            flipped += 1;
        }
    }
    assert!(flipped > 0, "the entry is somewhere");
    fs::write(&path, content).expect("it can be written");
    let error = Consensus::open(options(&dir)).await.err().expect("it is damaged").to_string();
    assert!(error.contains("log.redb") && error.contains("is damaged"), "{error}");
    assert!(error.contains("entry 9 is not usable"), "{error}");
}

#[tokio::test]
async fn a_second_agent_is_refused() {
    let dir = folder();
    let consensus = open(&dir).await;
    let error = Consensus::open(options(&dir)).await.err().expect("it is in use").to_string();
    assert!(error.starts_with("another agent (process "), "{error}");
    assert!(error.contains(&dir.path().join("raft").display().to_string()), "{error}");
    consensus.close().await;
    open(&dir).await.close().await;
}

#[tokio::test]
async fn another_format_or_voter_is_refused() {
    let dir = folder();
    open(&dir).await.close().await;
    let other = Options { node: 2, ..options(&dir) };
    let error = Consensus::open(other).await.err().expect("it is another's");
    assert!(matches!(error, ConsensusError::OtherNode { found: 1, wanted: 2, .. }), "{error}");
    for format in [0, 99] {
        crate::store::forge_identity(&dir.path().join("raft/log.redb"), format, 1);
        let error = Consensus::open(options(&dir)).await.err().expect("it is refused");
        assert!(matches!(error, ConsensusError::Format { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_a_log_is_left_alone() {
    let dir = folder();
    fs::create_dir(dir.path().join("raft")).expect("it is created");
    let path = dir.path().join("raft/log.redb");
    fs::write(&path, b"somebody else's").expect("it is written");
    let error = Consensus::open(options(&dir)).await.err().expect("it is refused").to_string();
    assert!(error.contains("log.redb"), "{error}");
    assert_eq!(fs::read(&path).expect("it is still there"), b"somebody else's");
}

#[tokio::test]
async fn the_same_log_gives_the_same_state() {
    let (one, two) = (folder(), folder());
    let first = open(&one).await;
    let second = open(&two).await;
    for number in [5, 3, 9, 3, 1] {
        let a = first.propose(register(number)).await.expect("it is applied");
        let b = second.propose(register(number)).await.expect("it is applied");
        assert_eq!(a, b);
    }
    assert_eq!(bytes(&first), bytes(&second));
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_pretended() {
    let dir = folder();
    let seams = Seams::default();
    let consensus = Consensus::open_with(options(&dir), seams.clone()).await.expect("it opens");
    consensus.propose(register(1)).await.expect("it is applied");
    let before = bytes(&consensus);
    seams.faults.full.store(true, Ordering::SeqCst);
    let error = consensus.propose(register(2)).await.expect_err("the disk is full").to_string();
    assert!(error.contains("the disk is full") && error.contains("log.redb"), "{error}");
    assert_eq!(bytes(&consensus), before);
    let error = consensus.propose(register(3)).await.expect_err("it stopped").to_string();
    assert!(error.contains("the disk is full"), "{error}");
    assert_eq!(consensus.metrics().role, Role::Stopped);
    consensus.close().await;

    let consensus = open(&dir).await;
    assert_eq!(bytes(&consensus), before);
    consensus.propose(register(2)).await.expect("there is room again");
    consensus.close().await;
}

#[tokio::test]
async fn a_closed_node_says_so() {
    let dir = folder();
    let consensus = open(&dir).await;
    let clone = consensus.clone();
    consensus.close().await;
    let error = clone.propose(register(1)).await.expect_err("it is closed");
    assert!(matches!(error, ProposeError::Stopped { .. }), "{error}");
    assert!(matches!(clone.linearizable().await, Err(ReadError::Stopped { .. })));
    assert!(clone.snapshot().await.is_err());
    assert!(clone.index().changed().await.is_err());
    // The directory is free although a clone is still there.
    open(&dir).await.close().await;
}

#[tokio::test]
async fn contradicting_options_are_refused() {
    let dir = folder();
    let late = Options { heartbeat: Duration::from_secs(9), ..options(&dir) };
    assert!(matches!(Consensus::open(late).await, Err(ConsensusError::Options(_))));
    let never = Options { snapshot_after: 0, ..options(&dir) };
    assert!(matches!(Consensus::open(never).await, Err(ConsensusError::Options(_))));
}

#[test]
fn only_a_sole_voter_that_leads_needs_no_clock() {
    assert!(!needs_clock(1, true, &[1], 0));
    assert!(needs_clock(1, false, &[1], 0));
    assert!(needs_clock(1, true, &[1], 1));
    assert!(needs_clock(1, true, &[1, 2, 3], 0));
    assert!(needs_clock(1, true, &[2], 0));
}
