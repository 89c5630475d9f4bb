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
