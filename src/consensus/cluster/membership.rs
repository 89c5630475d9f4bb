//! Who takes part changes while work goes on.

use super::*;
use crate::ChangeError;

fn small(options: &mut Options) {
    options.patience = Duration::from_secs(20);
    options.snapshot_after = 50;
    options.keep_entries = 10;
}

/// Writes from a base on until told to stop; returns what was answered.
fn keep_writing(
    node: Consensus,
    base: u64,
    stop: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut number = base;
        while !*stop.borrow() {
            node.propose(register(number)).await.expect("somebody leads");
            number += 1;
        }
        number
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_learner_gets_a_snapshot_while_writes_go_on_and_then_a_vote() {
    let cluster = Cluster::tuned(11, small);
    let first = cluster.open(1, Start::Bootstrap).await;
    // A name of a megabyte, so that the snapshot comes in several pieces.
    let large = "x".repeat(3 << 20);
    first.propose(named(1, large)).await.expect("it is applied");
    for number in 2..400 {
        first.propose(register(number)).await.expect("it is applied");
    }
    first.snapshot().await.expect("it is written");
    eventually("the log is purged", || (first.metrics().purged >= Some(300)).then_some(())).await;
    let (stop, stopped) = watch::channel(false);
    let writer = keep_writing(first.clone(), 1_000, stopped);
    for node in [2, 3] {
        let learner = cluster.open(node, Start::Join).await;
        first.add_learner(member(node)).await.expect("it is known");
        cluster.answering(&first, [node]).await;
        assert!(learner.metrics().purged.is_some(), "it began with a snapshot");
    }
    assert!(cluster.net.pieces.load(Ordering::Relaxed) >= 8, "in pieces");
    first.set_voters([1, 2, 3].into()).await.expect("they vote");
    assert_eq!(first.metrics().voters, vec![1, 2, 3]);
    stop.send_replace(true);
    let end = writer.await.expect("it wrote");
    cluster.caught_up(1..=3).await;
    assert_equal(&cluster.nodes());
    for number in 1_000..end {
        assert!(cluster.node(3).state().node(node_id(number)).is_some(), "{number} was answered");
    }
    let leftovers = std::fs::read_dir(cluster.dir.path().join("2/raft/snapshots"))
        .expect("the folder")
        .filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name();
            name.to_string_lossy().contains("incoming")
        });
    assert_eq!(leftovers.count(), 0);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_arrives_over_a_bad_line() {
    let cluster = Cluster::tuned(12, small);
    let first = cluster.open(1, Start::Bootstrap).await;
    first.propose(named(1, "x".repeat(3 << 20))).await.expect("it is applied");
    for number in 2..200 {
        first.propose(register(number)).await.expect("it is applied");
    }
    first.snapshot().await.expect("it is written");
    eventually("the log is purged", || (first.metrics().purged >= Some(100)).then_some(())).await;
    cluster.open(2, Start::Join).await;
    {
        let mut weather = cluster.net.weather();
        weather.lost = 50;
        weather.delay = Duration::from_millis(5);
    }
    first.add_learner(member(2)).await.expect("it is known");
    cluster.answering(&first, [2]).await;
    cluster.net.heal();
    cluster.caught_up(1..=2).await;
    assert_equal(&cluster.nodes());
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_voter_is_replaced() {
    let cluster = Cluster::of(13, 3, small).await;
    let leader = cluster.leader_among(1..=3).await;
    let dead = (1..=3).find(|node| *node != leader).expect("two follow");
    cluster.kill(dead).await;
    cluster.open(4, Start::Join).await;
    let leader = cluster.node(leader);
    leader.add_learner(member(4)).await.expect("it is known");
    cluster.answering(&leader, [4]).await;
    let voters: BTreeSet<u64> = (1..=4).filter(|node| *node != dead).collect();
    eventually("the dead one counts as silent", || {
        let silent = |member: &crate::MemberStatus| {
            member.node == dead
                && member.last_contact.is_none_or(|ago| ago > Duration::from_secs(1))
        };
        leader.members().iter().any(silent).then_some(())
    })
    .await;
    leader.set_voters(voters.clone()).await.expect("a quorum answers");
    leader.remove(dead).await.expect("it is no voter any more");
    let members: BTreeSet<u64> = leader.members().iter().map(|member| member.node).collect();
    assert_eq!(members, voters);
    leader.propose(register(1)).await.expect("it goes on");
    // The new one counts: with it, one more may be lost.
    let other = voters.iter().copied().find(|node| *node != 4 && *node != leader.metrics().node);
    cluster.kill(other.expect("a third")).await;
    leader.propose(register(2)).await.expect("two of three");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_endanger_the_quorum_is_refused_in_words() {
    let cluster = Cluster::of(14, 3, small).await;
    let leader = cluster.leader_among(1..=3).await;
    let node = cluster.node(leader);
    let error = node.set_voters([leader].into()).await.expect_err("two at once");
    assert!(
        matches!(&error, ChangeError::Refused(words) if words.contains("one at a time")),
        "{error}"
    );
    let error = node.set_voters([1, 2, 3, 9].into()).await.expect_err("nobody knows 9");
    assert!(error.to_string().contains("server 9"), "{error}");
    let follower = (1..=3).find(|node| *node != leader).expect("two follow");
    let error = cluster.node(follower).set_voters([9].into()).await.expect_err("the same here");
    assert!(error.to_string().contains("server 9"), "{error}");
    node.add_learner(member(4)).await.expect("that it does not answer is no harm to a learner");
    let error = node.set_voters([1, 2, 3, 4].into()).await.expect_err("it does not answer");
    assert!(error.to_string().contains("server 4"), "{error}");
    node.remove(4).await.expect("it is forgotten");
    node.remove(4).await.expect("nothing is left to do");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moved_is_found_again() {
    let cluster = Cluster::of(15, 3, small).await;
    let leader = cluster.leader_among(1..=3).await;
    let moving = (1..=3).find(|node| *node != leader).expect("two follow");
    cluster.kill(moving).await;
    let mut options = cluster.options(moving, Start::Join);
    options.address = address(moving + 10);
    cluster.open_with(options).await;
    let leader = cluster.node(leader);
    let moved = Member { node: moving, address: address(moving + 10) };
    leader.set_address(moved.clone()).await.expect("it is known");
    leader.propose(register(1)).await.expect("it is applied");
    let there = cluster.node(moving + 10);
    eventually("it has what was written", || there.state().node(node_id(1)).map(drop)).await;
    let known = leader.members().into_iter().find(|member| member.node == moving);
    assert_eq!(known.map(|known| known.address), Some(moved.address));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_goes_on_alone_when_the_others_are_gone_for_good() {
    let cluster = Cluster::of(16, 3, small).await;
    for number in 1..=120 {
        cluster.node(1 + number % 3).propose(register(number)).await.expect("it is applied");
    }
    cluster.caught_up(1..=3).await;
    let before = bytes(&cluster.node(2));
    for node in 1..=3 {
        cluster.kill(node).await;
    }
    let dir = cluster.options(2, Start::Join).dir;
    let error = crate::recover(&dir, 3, "elsewhere").expect_err("it is not server 3");
    assert!(matches!(error, crate::ConsensusError::OtherNode { .. }), "{error}");
    let recovered = crate::recover(&dir, 2, &address(2)).expect("it has a log");
    assert!(recovered.committed <= recovered.last);
    let alone = cluster.open(2, Start::Join).await;
    assert!(alone.is_leader());
    assert_eq!(bytes(&alone), before, "nothing is lost");
    assert_eq!(alone.metrics().voters, vec![2]);
    alone.propose(register(1_000)).await.expect("it takes writes");
    // A new one with an empty directory joins; the numbers of the lost are not used again.
    cluster.open(4, Start::Join).await;
    alone.add_learner(member(4)).await.expect("it is known");
    cluster.answering(&alone, [4]).await;
    alone.set_voters([2, 4].into()).await.expect("it votes");
    cluster.caught_up([2, 4]).await;
    assert_equal(&cluster.nodes());
    let empty = cluster.dir.path().join("empty");
    assert!(crate::recover(&empty, 1, "x").is_err(), "there is nothing to recover");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_commands_travel_one_at_a_time() {
    let cluster = Cluster::new(17);
    let first = cluster.open(1, Start::Bootstrap).await;
    let sizes = [15 << 20, 1, 3 << 20, 3 << 20, 15 << 20, 1, 1];
    for (number, size) in (1..).zip(sizes) {
        first.propose(named(number, "x".repeat(size))).await.expect("it is applied");
    }
    // What is not at hand any more comes from the disk; the wire refuses what is too large.
    cluster.tell_servers([1]);
    cluster.open(2, Start::Join).await;
    first.add_learner(member(2)).await.expect("it is known");
    cluster.follow(9).await;
    cluster.caught_up([1, 2, 9]).await;
    assert_equal(&cluster.nodes());
    cluster.close().await;
}
