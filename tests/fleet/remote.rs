//! A repository on a host that not everybody reaches, and that wants to be asked seldom.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use crate::fleet::Fleet;
use crate::http_server::{Mood, Server};

/// Three servers that follow a repository over HTTP, and the host.
fn fleet(interval: &'static str) -> Option<(Fleet, Server)> {
    let host = OnceCell::new();
    let fleet = Fleet::following(interval, |network, repo| {
        let server = Server::start_on(network.here().into(), repo.path(), Mood::Open);
        let url = format!("http://{}:{}/.git", network.here(), server.port);
        assert!(host.set(server).is_ok());
        url
    });
    let mut fleet = fleet?;
    fleet.grow(3);
    Some((fleet, host.into_inner().expect("it was started")))
}

/// How often the host was asked where the branch is.
fn looks(host: &Server) -> usize {
    host.asked().iter().filter(|line| line.contains("/info/refs")).count()
}

/// Has one agent look, and nobody else.
fn look(fleet: &Fleet, number: usize) {
    let client = fleet.agents[number].client().with_timeout(Duration::from_secs(30));
    client.check_now(None).expect("it reads the remote");
}

/// What is desired, as this agent knows it.
fn desired(fleet: &Fleet, number: usize) -> Option<String> {
    let status = fleet.agents[number].client().gitops_status(None).ok()?.into_value();
    status.repos.first()?.head.as_ref().map(ToString::to_string)
}

#[test]
fn what_one_node_sees_is_deployed_whoever_leads_and_whatever_the_leader_reaches() {
    // Nobody's turn comes while this runs.
    let Some((mut fleet, host)) = fleet("12h") else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    let leader = fleet.wait_leader();
    let other = (0..3).find(|number| *number != leader).expect("three");

    // The leader looks because another node tells it.
    let commit = fleet.push(4, "2");
    look(&fleet, worker);
    fleet.wait_for("the leader to know", |fleet| (desired(fleet, leader)? == commit).then_some(()));
    fleet.wait_settled();

    // It cannot look, and takes what another server has.
    let here = fleet.network.here();
    fleet.agents[leader].machine.refused_at(here, host.port);
    let commit = fleet.push(5, "3");
    look(&fleet, other);
    fleet.wait_for("the leader to have it from another server", |fleet| {
        (desired(fleet, leader)? == commit).then_some(())
    });
    assert!(fleet.agents[leader].log().contains("its objects came from another node"));
    fleet.wait_settled();

    // A worker's word is not enough, though it could give the objects.
    let commit = fleet.push(6, "4");
    look(&fleet, worker);
    fleet.wait_for("the leader to be told", |fleet| {
        fleet.agents[leader]
            .log()
            .contains("seen by a node that `heads_from` does not name")
            .then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_ne!(desired(&fleet, leader), Some(commit.clone()), "on a worker's word");
    assert_eq!(fleet.wait_leader(), leader, "the leader stayed the same all the while");

    // What was seen is told again until the leader can look for itself.
    fleet.agents[leader].machine.heal();
    fleet.wait_for("the leader to see it", |fleet| {
        (desired(fleet, leader)? == commit).then_some(())
    });
    fleet.wait_settled();
    fleet.wait_agreement();
}

#[test]
fn a_host_is_asked_once_a_second_at_most_and_left_alone_when_it_says_so() {
    // Less than there are nodes: the turns are a second apart.
    let Some((mut fleet, host)) = fleet("1s") else { return };
    std::thread::sleep(Duration::from_secs(2));
    let (before, begin) = (looks(&host), Instant::now());
    std::thread::sleep(Duration::from_secs(15));
    let (asked, took) = (looks(&host) - before, begin.elapsed());
    eprintln!("{asked} requests in {took:?}");
    // A turn that is taken late may fall together with the next one at either end.
    assert!(asked as f64 <= took.as_secs_f64() + 2.0, "{asked} requests in {took:?}");
    assert!(asked >= 5, "nobody looks: {asked} requests in {took:?}");

    let says = "HTTP/1.1 429 Too Many\r\nretry-after: 12\r\ncontent-length: 0\r\n\r\n";
    host.set(Mood::Says(says.to_owned()));
    let before = looks(&host);
    fleet.wait_for("somebody to be refused", |_| (looks(&host) > before).then_some(()));
    // Until everybody has heard of it.
    std::thread::sleep(Duration::from_secs(3));
    let known = looks(&host);
    assert!(known - before <= 4, "{} were refused before all knew", known - before);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(looks(&host), known, "somebody asks a host that wants to be left alone");
    host.set(Mood::Open);
    let commit = fleet.push(4, "2");
    fleet.wait_for("somebody to see it after that", |fleet| {
        (desired(fleet, 0)? == commit).then_some(())
    });
    fleet.wait_settled();
}
