//! Disks that are full, and disks that lie.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::agent::Agent;
use crate::fleet::Fleet;

/// Megabytes of the small disk.
const SIZE: u64 = 64;

fn mount(agent: &Agent) {
    std::fs::create_dir_all(agent.data_dir()).expect("a directory");
    let options = format!("size={SIZE}m,mode=700");
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "herder-test"])
        .arg(agent.data_dir())
        .status();
    assert!(status.expect("mount runs").success());
}

/// Takes all the room that there is.
fn fill(agent: &Agent) {
    let mut file = std::fs::File::create(agent.data_dir().join("waste")).expect("a file");
    for block in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; block]).is_ok() {}
    }
}

#[test]
fn a_leader_whose_disk_is_full_hands_over() {
    let Some(mut fleet) = Fleet::bare(mount) else { return };
    fleet.grow(4);
    let before = fleet.processes();
    assert_eq!(fleet.leader(), Some(0), "the first one leads");
    let watch = fleet.watch(&fleet.catalogs());
    fill(&fleet.agents[0]);
    // It cannot promise anything any more, and says so; the others go on without it.
    fleet.wait_for("another leader that accepts writes", |fleet| {
        let _ = Fleet::write(&fleet.agents[0], Duration::from_secs(2));
        (1..3).find(|number| {
            let agent = &fleet.agents[*number];
            agent.raft().is_some_and(|raft| raft.leads)
                && Fleet::write(agent, Duration::from_secs(2)).is_ok()
        })
    });
    let log = fleet.agents[0].log().to_lowercase();
    assert!(log.contains("no space left") || log.contains("disk is full"), "it says what is wrong");
    let now = fleet.processes();
    for (alloc, pids) in &before {
        assert_eq!(now.get(alloc), Some(pids), "what runs runs on");
    }
    watch.end();
    std::fs::remove_file(fleet.agents[0].data_dir().join("waste")).expect("room");
    fleet.agents[0].kill();
    fleet.agents[0].launch();
    fleet.wait_ready(0);
    fleet.wait_settled();
    fleet.wait_agreement();
}

#[test]
fn a_log_that_the_disk_changed_is_not_served() {
    let Some(mut fleet) = Fleet::start(3) else { return };
    let leader = fleet.wait_leader();
    let victim = (0..3).find(|number| *number != leader).expect("another");
    fleet.agents[victim].kill();
    // One bit in each place of the log where the first job's command line is.
    let path = fleet.agents[victim].data_dir().join("raft/log.redb");
    let mut bytes = std::fs::read(&path).expect("the log");
    let needle = b"example-server";
    let places: Vec<usize> = bytes
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| window == needle)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the log holds what was written");
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).expect("the log");

    fleet.agents[victim].launch();
    let status = fleet.wait_for("it to refuse", |fleet| {
        let agent = &mut fleet.agents[victim];
        assert!(!agent.data_dir().join("agent.json").exists(), "it serves a log that is broken");
        agent.ended()
    });
    assert!(!status.success());
    let log = fleet.agents[victim].log();
    assert!(log.contains("log.redb") || log.contains("checksum"), "it says what is wrong:\n{log}");
    fleet.agents[victim].kill();
    // The others go on.
    fleet.next_write();
    fleet.deploy(4, "2");
}

#[test]
fn a_server_that_lost_its_log_does_not_vote_until_it_is_taken_in_anew() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let leader = fleet.wait_leader();
    let broken = (0..3).rev().find(|number| *number != leader).expect("another");
    fleet.agents[broken].kill();
    let raft = fleet.agents[broken].data_dir().join("raft");
    let log = raft.join("log.redb");
    let mut bytes = std::fs::read(&log).expect("a log");
    bytes.iter_mut().skip(64).step_by(97).for_each(|byte| *byte ^= 0x55);
    std::fs::write(&log, bytes).expect("written");
    // It says what is wrong, and leaves its tasks alone.
    let tasks = crate::audit::processes(&fleet.agents[broken].data_dir());
    fleet.agents[broken].launch();
    let status = fleet.wait_for("it to refuse", |fleet| fleet.agents[broken].ended());
    assert!(!status.success());
    let said = fleet.agents[broken].log();
    assert!(said.contains("log.redb"), "{said}");
    assert_eq!(crate::audit::processes(&fleet.agents[broken].data_dir()), tasks);
    fleet.agents[broken].kill();

    std::fs::rename(&raft, raft.with_extension("damaged")).expect("moved away");
    fleet.agents[broken].launch();
    fleet.wait_ready(broken);
    fleet.wait_settled();
    fleet.wait_for("it to say that it does not vote", |fleet| {
        fleet.agents[broken].log().contains("it does not vote").then_some(())
    });
    // Through whatever the others do.
    let next = (0..3).find(|number| *number != leader && *number != broken).expect("a third");
    let peer = fleet.agents[next].node_id().to_string();
    fleet.agents[leader].client().transfer_leadership(Some(&peer)).expect("handed over");
    let leader = fleet.wait_leader();
    fleet.deploy(5, "2");
    assert!(!log.exists(), "it has taken no part in Raft");

    let peer = fleet.agents[broken].node_id().to_string();
    // One that leads since a moment ago may not have heard of the other yet.
    fleet.wait_for("it to be taken out", |fleet| {
        fleet.agents[leader].client().remove_peer(&peer).ok()
    });
    fleet.wait_for("it to vote again", |fleet| {
        let raft = fleet.agents[broken].raft()?;
        (fleet.has_voters(3) && raft.role == "follower").then_some(())
    });
    assert!(log.exists());
    fleet.wait_agreement();
}
