//! Lines that work one way only, lose half or turn the order around: a leader is found, and nothing is lost.

use super::*;

fn patient(options: &mut Options) {
    options.patience = Duration::from_secs(30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nobody_is_replaced_and_one_that_is_not_heard_too() {
    for (seed, deaf) in [(51, true), (52, false)] {
        let cluster = Cluster::of(seed, 3, patient).await;
        let leader = cluster.leader_among(1..=3).await;
        let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
        for other in &others {
            let (from, to) = if deaf { (*other, leader) } else { (leader, *other) };
            cluster.net.cut(from, to);
        }
        // One that is deaf is still heard; it must fall silent by itself, or the others would wait for ever.
        assert_ne!(cluster.leader_among(others.clone()).await, leader, "deaf: {deaf}");
        cluster.node(others[0]).propose(register(1)).await.expect("two of three");
        cluster.net.heal();
        cluster.node(others[0]).propose(register(2)).await.expect("all is well again");
        cluster.node(leader).linearizable().await.expect("all is well again");
        cluster.caught_up(1..=3).await;
        assert_equal(&cluster.nodes());
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_comes_back_does_not_disturb_the_leader() {
    let cluster = Cluster::of(53, 3, patient).await;
    let leader = cluster.leader_among(1..=3).await;
    let follower = (1..=3).find(|node| *node != leader).expect("two follow");
    let term = cluster.node(leader).metrics().term;
    cluster.net.isolate(follower, (1..=3).filter(|node| *node != follower));
    // Long enough for it to stand for election, were it allowed to.
    for number in 1..=30 {
        cluster.node(leader).propose(register(number)).await.expect("two of three");
        sleep(Duration::from_millis(50)).await;
    }
    cluster.net.heal();
    cluster.caught_up(1..=3).await;
    cluster.node(follower).propose(register(100)).await.expect("it is one of them again");
    assert_eq!(cluster.node(leader).metrics().term, term, "nobody had to vote");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_late_messages_cost_time_and_nothing_else() {
    let cluster = Cluster::of(54, 3, patient).await;
    {
        let mut weather = cluster.net.weather();
        weather.lost = 30;
        weather.delay = Duration::from_millis(20);
    }
    let mut answered = Vec::new();
    for number in 1..=60 {
        let node = cluster.node(1 + number % 3);
        if let Ok(Ok(applied)) =
            timeout(Duration::from_secs(2), node.propose(register(number))).await
        {
            answered.push((number, applied.index));
        }
    }
    cluster.net.heal();
    assert!(answered.len() > 20, "{} of 60", answered.len());
    cluster.node(1).propose(register(1_000)).await.expect("all is well again");
    cluster.caught_up(1..=3).await;
    assert_equal(&cluster.nodes());
    for (number, index) in answered {
        let state = cluster.node(2).state();
        assert_eq!(state.node(node_id(number)).expect("it was answered").modify_index, index);
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_does_not_think_that_it_leads() {
    let cluster = Cluster::of(55, 3, patient).await;
    let leader = cluster.leader_among(1..=3).await;
    let node = cluster.node(leader);
    let mut leads = node.leadership();
    timeout(Duration::from_secs(30), leads.wait_for(|leads| *leads))
        .await
        .expect("soon")
        .expect("it runs");
    // The engine would lead until it hears of another one: never.
    cluster.net.isolate(leader, (1..=3).filter(|node| *node != leader));
    timeout(Duration::from_secs(30), leads.wait_for(|leads| !*leads))
        .await
        .expect("soon")
        .expect("it runs");
    assert!(!node.is_leader());
    assert_eq!((node.leader(), node.metrics().leader), (None, None));
    cluster.net.heal();
    cluster.node(leader).propose(register(1)).await.expect("all is well again");
    cluster.caught_up(1..=3).await;
    cluster.close().await;
}
