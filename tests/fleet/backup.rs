//! A cluster that is brought back from a snapshot file and its authority's keys.

use std::process::Command;

use model::NodeStatus;

use crate::agent::{HERDER, signal};
use crate::fleet::Fleet;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}{wrong}");
}

/// The machine burns down.
fn burn(fleet: &mut Fleet, number: usize) {
    fleet.agents[number].kill();
    for pid in crate::audit::all_processes(&fleet.agents[number].data_dir()) {
        signal(pid, "KILL");
    }
}

#[test]
fn a_cluster_comes_back_from_a_snapshot_and_its_keys_and_its_workers_go_on() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    fleet.deploy(5, "2");
    let node = fleet.agents[worker].node_id();
    let first = fleet.agents[0].node_id();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup.snap").display().to_string();
    let data = fleet.agents[0].data_dir().display().to_string();
    let saved =
        fleet.agents[0].herder(&["operator", "snapshot", "save", &file, "-data-dir", &data]);
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    // What comes after the backup is known to the worker.
    fleet.deploy(6, "3");
    for _ in 0..20 {
        Fleet::write(&fleet.agents[1], crate::fleet::PATIENCE).expect("a write");
    }
    fleet.wait_agreement();

    // All servers are gone for good, and their tasks with them. The worker runs on.
    for number in 0..3 {
        burn(&mut fleet, number);
    }
    let before = fleet.processes();
    assert!(!before.is_empty(), "nothing runs on the worker");
    // A new machine in the place of the first: its keys, and the backup.
    let machine = fleet.agents[0].machine.clone();
    let number = fleet.add_on(machine, "a-again", &["--bootstrap"]);
    let new = fleet.agents[number].data_dir();
    std::fs::create_dir_all(&new).expect("a directory");
    run("cp", &["-a", &format!("{data}/tls"), &new.display().to_string()]);
    run(
        HERDER,
        &["operator", "snapshot", "restore", &file, "-data-dir", &new.display().to_string()],
    );
    // The burnt ones are no part of what is looked at from here on.
    fleet.agents.drain(..3);
    let (worker, number) = (worker - 3, number - 3);
    fleet.agents[number].launch();
    fleet.wait_ready(number);
    assert_eq!(fleet.agents[number].node_id(), first, "a node is its key");
    fleet.wait_for("the worker to go on", |fleet| {
        let known = fleet.node_status(number, node)? == NodeStatus::Ready;
        (known && fleet.agents[worker].raft()?.term > 0).then_some(())
    });
    // The repository says what is desired, not the backup alone.
    fleet.check_now();
    fleet.wait_settled();
    fleet.wait_agreement();

    // Other servers join, with empty directories.
    let made = fleet.agents[number].client().make_join_token("1h").expect("a token");
    fleet.token = made.token;
    fleet.agents.swap(0, number);
    fleet.join("b-again", &[]);
    fleet.join("c-again", &[]);
    fleet.wait_for("three voters", |fleet| {
        let voters = fleet.agents[0].raft()?.voters;
        (voters == 3).then_some(())
    });
    fleet.deploy(7, "4");
    fleet.wait_agreement();
}
