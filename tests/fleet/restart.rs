//! Agents that are started again, one after another or all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fleet::Fleet;

#[test]
fn all_servers_killed_at_once_find_everything_again() {
    let Some(mut fleet) = Fleet::start(6) else { return };
    let before = fleet.processes();
    let allocs = fleet.agents[0].allocations().expect("an answer");
    let made = Fleet::write(&fleet.agents[1], Duration::from_secs(5)).expect("a write");
    for agent in &mut fleet.agents {
        agent.kill();
    }
    assert_eq!(fleet.processes(), before, "tasks need no agent to run");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fleet.processes(), before, "tasks need no agent to run");
    for agent in &mut fleet.agents {
        agent.launch();
    }
    for number in 0..3 {
        fleet.wait_ready(number);
    }
    fleet.next_write();
    fleet.wait_settled();
    fleet.wait_agreement();
    assert_eq!(fleet.processes(), before, "no task was stopped");
    let after = fleet.agents[2].allocations().expect("an answer");
    let ids = |allocs: &[model::wire::AllocListStub]| -> std::collections::BTreeSet<_> {
        allocs.iter().map(|alloc| alloc.id).collect()
    };
    assert_eq!(ids(&after), ids(&allocs));
    let tokens = fleet.agents[0].client().join_tokens().expect("an answer");
    assert!(tokens.iter().any(|token| token.id == made), "what was accepted is there");
}

/// Somebody who writes all the time, by way of one agent after another.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Duration, u32)>,
}

impl Writer {
    fn start(fleet: &Fleet) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = fleet.agents.iter().map(|agent| agent.client()).collect();
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut last, mut longest, mut writes) = (Instant::now(), Duration::ZERO, 0);
            while !stopping.load(Ordering::Relaxed) {
                for client in &clients {
                    let client = client.clone().with_timeout(Duration::from_secs(1));
                    if client.make_join_token("1m").is_ok() {
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                        writes += 1;
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            (longest.max(last.elapsed()), writes)
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (longest, writes) = self.thread.join().expect("the writer");
        eprintln!("{writes} writes, the longest time without one was {longest:?}");
        assert!(longest < Duration::from_secs(6), "no write for {longest:?}");
    }
}

#[test]
fn agents_are_restarted_one_by_one_and_nobody_notices() {
    let Some(mut fleet) = Fleet::start(6) else { return };
    let before = fleet.processes();
    let writer = Writer::start(&fleet);
    for number in 0..3 {
        fleet.agents[number].terminate();
        fleet.agents[number].launch();
        fleet.wait_ready(number);
        // The next is stopped once this one takes part again.
        fleet.wait_settled();
    }
    writer.end();
    fleet.wait_settled();
    fleet.wait_agreement();
    assert_eq!(fleet.processes(), before, "no task was started again");
}

#[test]
fn agents_of_the_version_before_are_replaced_one_by_one() {
    let Some(previous) = std::env::var_os("HERDER_PREVIOUS") else {
        eprintln!(
            "skipped: HERDER_PREVIOUS names no binary of the version before; tests/upgrade builds one"
        );
        return;
    };
    let Some(mut fleet) = Fleet::start_by(previous.into(), 6) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    fleet.deploy(6, "of the version before");
    let writer = Writer::start(&fleet);
    for number in [0, 1, 2, worker] {
        let before = fleet.processes();
        fleet.agents[number].terminate();
        fleet.agents[number].binary = crate::agent::HERDER.into();
        fleet.agents[number].launch();
        fleet.wait_ready(number);
        fleet.wait_settled();
        assert_eq!(fleet.processes(), before, "no task was started again");
        // Both versions decide on this one and carry it out together.
        fleet.deploy(6, &format!("with {} of this version", number + 1));
        fleet.wait_agreement();
        // Whoever led leads no more: it may be either version's turn.
        let leader = fleet.wait_leader();
        fleet.agents[leader].kill();
        fleet.agents[leader].launch();
        fleet.wait_ready(leader);
        fleet.wait_settled();
    }
    writer.end();
    fleet.wait_agreement();
}
