//! Followers without a vote, and how they become members and cease to be.

use super::*;
use crate::error::ProposeError;
use crate::status::Role;
use crate::subscription::SubscriptionError;

fn small(options: &mut Options) {
    options.patience = Duration::from_secs(20);
    options.snapshot_after = 50;
    options.keep_entries = 10;
}

/// Watches that what a node shows never goes back and that its events have no gap that it is not told of.
fn watch_it(node: &Consensus) -> tokio::task::JoinHandle<Watched> {
    let (mut index, mut events) = (node.index(), node.subscribe());
    let node = node.clone();
    tokio::spawn(async move {
        let mut watched = Watched::default();
        let mut shown = 0;
        let mut last = 0;
        loop {
            tokio::select! {
                changed = index.changed() => {
                    let now = node.state().index();
                    assert!(now >= shown, "{now} after {shown}");
                    shown = now;
                    if changed.is_err() {
                        return watched;
                    }
                }
                event = events.next() => match event {
                    Ok(applied) => {
                        assert!(applied.index > last, "{} after {last}", applied.index);
                        last = applied.index;
                        watched.events.insert(applied.index);
                    }
                    Err(SubscriptionError::Lagged) => watched.replaced += 1,
                    Err(SubscriptionError::Closed) => return watched,
                },
            }
        }
    })
}

#[derive(Default)]
struct Watched {
    events: BTreeSet<u64>,
    replaced: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_and_writes_what_everybody_does() {
    let cluster = Cluster::of(21, 3, small).await;
    for number in 1..=200 {
        cluster.node(1).propose(register(number)).await.expect("it is applied");
    }
    cluster.node(1).snapshot().await.expect("it is written");
    cluster.tell_servers(1..=3);
    let replica = cluster.follow(9).await;
    eventually("it has it all", || replica.state().node(node_id(200)).map(drop)).await;
    assert_eq!(replica.metrics().role, Role::Replica);
    assert!(!replica.is_leader());
    let watched = watch_it(&replica);
    let mut written = BTreeSet::new();
    for number in 300..=400 {
        let by = [&replica, &cluster.node(1 + number % 3)][usize::from(number % 4 > 0)].clone();
        let applied = by.propose(register(number)).await.expect("the leader takes it");
        assert!(by.state().node(node_id(number)).is_some(), "who writes can read it");
        written.insert(applied.index);
    }
    let nobody = Command::SetNodeStatus {
        node: node_id(9_999),
        status: model::NodeStatus::Down,
        at: Timestamp::default(),
    };
    let rejected = replica.propose(nobody).await.expect("it is answered");
    assert!(matches!(rejected.rejection, Some(state::Rejection::NotFound { what: "node", .. })));
    cluster.node(2).propose(register(500)).await.expect("it is applied");
    replica.linearizable().await.expect("it asks the leader");
    assert!(replica.state().node(node_id(500)).is_some());
    let leader = cluster.leader_among(1..=3).await;
    assert_eq!(replica.leader().map(|leader| leader.node), Some(leader));
    let known: Vec<u64> = replica.members().iter().map(|member| member.node).collect();
    assert_eq!(known, vec![1, 2, 3]);
    cluster.caught_up([1, 2, 3, 9]).await;
    assert_equal(&cluster.nodes());
    // Nobody can follow a follower, and it takes part in nothing.
    let envelope = crate::wire::Envelope {
        cluster: "herder".to_owned(),
        to: None,
        from: 1,
        body: crate::wire::Request::Follow { after: None, wait_ms: 0 },
    };
    let asked = replica.answer(envelope.encode().expect("it encodes")).await;
    assert!(asked.expect_err("it is no server").to_string().contains("no server"));
    cluster.close().await;
    let watched = watched.await.expect("it only goes forward");
    assert_eq!(watched.replaced, 0);
    assert!(written.is_subset(&watched.events), "every event came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_goes_on_while_servers_die_and_comes_back_with_what_it_had() {
    let cluster = Cluster::of(22, 3, small).await;
    cluster.tell_servers([1]);
    let replica = cluster.follow(9).await;
    let watched = watch_it(&replica);
    for round in 0..6u64 {
        let leader = cluster.leader_among(1..=3).await;
        for number in 0..40 {
            // The same again does no harm: what is not known to be written is written once more.
            loop {
                match replica.propose(register(1 + round * 100 + number)).await {
                    Ok(_) => break,
                    Err(ProposeError::Unknown) => {}
                    Err(error) => panic!("somebody leads: {error}"),
                }
            }
        }
        cluster.restart(leader).await;
    }
    cluster.leader_among(1..=3).await;
    let last = replica.propose(register(10_000)).await.expect("somebody leads");
    for round in 0..6u64 {
        for number in 0..40 {
            let id = node_id(1 + round * 100 + number);
            assert!(replica.state().node(id).is_some());
        }
    }
    let before = bytes(&replica);
    cluster.kill(9).await;
    watched.await.expect("it only goes forward");

    // Nobody is there, and yet it knows.
    for node in 1..=3 {
        cluster.net.isolate(9, [node]);
    }
    let replica = cluster.follow(9).await;
    assert_eq!(bytes(&replica), before);
    assert_eq!(replica.state().index(), last.index);
    // Meanwhile so much happens that the log does not reach back.
    for number in 20_000..20_200 {
        cluster.node(1).propose(register(number)).await.expect("it is applied");
    }
    for node in 1..=3 {
        cluster.node(node).snapshot().await.expect("it is written");
    }
    let watched = watch_it(&replica);
    cluster.net.heal();
    eventually("it has it all", || replica.state().node(node_id(20_199)).map(drop)).await;
    cluster.caught_up([1, 2, 3, 9]).await;
    assert_equal(&cluster.nodes());
    cluster.close().await;
    assert_eq!(watched.await.expect("it only goes forward").replaced, 1, "it is told of the gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_is_left_for_another() {
    let cluster = Cluster::of(23, 3, small).await;
    let leader = cluster.leader_among(1..=3).await;
    let cut_off = (1..=3).find(|node| *node != leader).expect("two follow");
    cluster.tell_servers([cut_off]);
    let replica = cluster.follow(9).await;
    replica.propose(register(1)).await.expect("it is applied");
    cluster.net.isolate(cut_off, (1..=3).filter(|node| *node != cut_off));
    cluster.node(leader).propose(register(2)).await.expect("two of three");
    // The one that it was told of still answers, but knows nothing new.
    eventually("it asks another", || replica.state().node(node_id(2)).map(drop)).await;
    replica.linearizable().await.expect("it asks the leader");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_becomes_a_voter_and_a_follower_again() {
    let cluster = Cluster::of(24, 3, small).await;
    cluster.tell_servers(1..=3);
    let node = cluster.follow(4).await;
    for number in 1..=150 {
        cluster.node(1).propose(register(number)).await.expect("it is applied");
    }
    for server in 1..=3 {
        cluster.node(server).snapshot().await.expect("it is written");
    }
    eventually("it has it all", || node.state().node(node_id(150)).map(drop)).await;
    let watched = watch_it(&node);
    node.become_member().await.expect("it waits to be added");
    node.become_member().await.expect("nothing is left to do");
    // It waits, and still sees what happens.
    cluster.node(1).propose(register(151)).await.expect("it is applied");
    eventually("it follows on", || node.state().node(node_id(151)).map(drop)).await;
    node.add_learner(member(4)).await.expect("it asks for itself");
    let leader = cluster.node(cluster.leader_among(1..=3).await);
    cluster.answering(&leader, [4]).await;
    leader.set_voters((1..=4).collect()).await.expect("it votes");
    node.propose(register(152)).await.expect("it is applied");
    eventually("it needs no stream any more", || (!node.follows()).then_some(())).await;
    cluster.caught_up(1..=4).await;
    leader.transfer(4).await.expect("it may even lead");
    eventually("it leads", || node.is_leader().then_some(())).await;
    node.propose(register(153)).await.expect("it is applied");

    node.remove(4).await.expect("it goes");
    let servers = cluster.leader_among(1..=3).await;
    cluster.node(servers).propose(register(154)).await.expect("three are left");
    eventually("it follows again", || (node.metrics().role == Role::Replica).then_some(())).await;
    eventually("it sees the rest", || node.state().node(node_id(154)).map(drop)).await;
    node.propose(register(155)).await.expect("the others take it");
    cluster.caught_up(1..=4).await;
    assert_equal(&cluster.nodes());
    // And back once more, with a new log.
    node.become_member().await.expect("it waits to be added");
    node.add_learner(member(4)).await.expect("it asks for itself");
    eventually("it needs no stream any more", || (!node.follows()).then_some(())).await;
    cluster.close().await;
    watched.await.expect("it only goes forward");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_removed_while_it_slept_notices() {
    let cluster = Cluster::of(25, 3, small).await;
    cluster.tell_servers(1..=3);
    let mut options = cluster.options(4, Start::Join);
    options.following = Some(cluster.following(4));
    let node = cluster.open_with(options.clone()).await;
    let leader = cluster.node(cluster.leader_among(1..=3).await);
    leader.add_learner(member(4)).await.expect("it is known");
    leader.propose(register(1)).await.expect("it is applied");
    eventually("it is a member", || (!node.follows()).then_some(())).await;
    cluster.kill(4).await;
    drop(node);
    leader.remove(4).await.expect("it is forgotten");
    leader.propose(register(2)).await.expect("it is applied");
    let node = cluster.open_with(options).await;
    assert!(!node.follows(), "as far as it knows it is a member");
    eventually("it follows", || node.follows().then_some(())).await;
    eventually("it sees the rest", || node.state().node(node_id(2)).map(drop)).await;
    cluster.close().await;
}
