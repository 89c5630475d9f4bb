//! What clients of all agents wrote and read while leaders died and were cut off, and whether it can have been so.
//!
//! What is written is a set that only grows: join tokens. An answer that says yes is a promise; any other may have been
//! carried out or not. What is read has an index, and all who ever read at one index read the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::Client;

use crate::fleet::{Fleet, rounds};

type Set = BTreeSet<String>;

/// What came of one agent's clients.
#[derive(Default)]
struct History {
    /// What was answered with yes.
    written: Set,
    /// Answers that say neither that it was done nor that it was not.
    open: usize,
    /// What was read, in order, and at which index.
    reads: Vec<(u64, Set)>,
}

fn tokens(client: &Client) -> Option<(u64, Set)> {
    let all = client.join_tokens().ok()?;
    let index = client.nodes(&client::Listing::default()).ok()?.index;
    Some((index, all.into_iter().map(|token| token.id).collect()))
}

fn work(client: &Client, stop: &AtomicBool) -> History {
    let mut history = History::default();
    while !stop.load(Ordering::Relaxed) {
        match client.make_join_token("1h") {
            Ok(made) => drop(history.written.insert(made.id)),
            Err(_) => history.open += 1,
        }
        history.reads.extend(tokens(client));
        std::thread::sleep(Duration::from_millis(100));
    }
    history
}

/// Says what cannot have been so.
fn check(histories: &[History], last: &Set) -> Result<(), String> {
    let mut open = 0;
    for history in histories {
        if let Some(lost) = history.written.iter().find(|id| !last.contains(*id)) {
            return Err(format!("{lost} was accepted, and is gone"));
        }
        open += history.open;
        for (index, read) in &history.reads {
            if let Some(stranger) = read.iter().find(|id| !last.contains(*id)) {
                return Err(format!("{stranger} was read at {index}, and is gone"));
            }
        }
    }
    let written: Set = histories.iter().flat_map(|history| history.written.clone()).collect();
    if written.len() != histories.iter().map(|history| history.written.len()).sum::<usize>() {
        return Err("two writes were answered with one name".to_owned());
    }
    if last.len() > written.len() + open {
        return Err(format!("{} are there, {} + {open} were written", last.len(), written.len()));
    }
    // A set that only grows: of any two reads, by whomever, one holds the other.
    let mut sizes: BTreeMap<usize, &Set> = BTreeMap::new();
    for (index, read) in histories.iter().flat_map(|history| &history.reads) {
        if *sizes.entry(read.len()).or_insert(read) != read {
            return Err(format!("what was read at {index} is another history"));
        }
    }
    let all: Vec<_> = sizes.into_values().collect();
    match all.windows(2).find(|pair| !pair[0].is_subset(pair[1])) {
        Some(pair) => Err(format!("{} and {} tell two histories", pair[0].len(), pair[1].len())),
        None => Ok(()),
    }
}

#[test]
fn what_clients_saw_can_have_been_so() {
    let Some(mut fleet) = Fleet::start(2) else { return };
    let before = tokens(&fleet.agents[0].client()).expect("an answer").1;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = fleet
        .agents
        .iter()
        .map(|agent| {
            let (client, stop) =
                (agent.client().with_timeout(Duration::from_secs(2)), Arc::clone(&stop));
            std::thread::spawn(move || work(&client, &stop))
        })
        .collect();
    let machines = fleet.machines();
    for _ in 0..rounds(2) {
        let leader = fleet.wait_leader();
        machines[leader].cut_from(&machines);
        std::thread::sleep(Duration::from_secs(3));
        machines[leader].heal();
        fleet.next_write();
        let leader = fleet.wait_leader();
        fleet.agents[leader].kill();
        fleet.next_write();
        fleet.agents[leader].launch();
        fleet.wait_ready(leader);
    }
    std::thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let mut histories: Vec<History> =
        clients.into_iter().map(|client| client.join().expect("a client")).collect();
    // What was there before, and what the test itself wrote to see that writes go on.
    histories.push(History { written: before, open: 10_000, reads: Vec::new() });
    fleet.wait_settled();
    fleet.wait_agreement();
    let written: usize = histories.iter().map(|history| history.written.len()).sum();
    let reads: usize = histories.iter().map(|history| history.reads.len()).sum();
    eprintln!("{written} writes, {reads} reads");
    assert!(written > 20 && reads > 20, "{written} writes, {reads} reads are no test");
    let last = |agent: &crate::agent::Agent| tokens(&agent.client()).expect("an answer").1;
    let [a, b, c] = [0, 1, 2].map(|number| last(&fleet.agents[number]));
    assert!(a == b && b == c, "all agents tell the same in the end");
    let checked = check(&histories, &a);
    assert_eq!(checked, Ok(()));
}

#[test]
fn what_cannot_have_been_so_is_found() {
    let set = |ids: &[&str]| -> Set { ids.iter().map(|id| (*id).to_owned()).collect() };
    let read = |ids: &[&[&str]]| History {
        reads: ids.iter().map(|ids| (1, set(ids))).collect(),
        open: 2,
        ..History::default()
    };
    let wrote = |ids: &[&str]| History { written: set(ids), ..History::default() };
    assert!(check(&[wrote(&["a", "b"]), read(&[&["a"], &["a", "b"]])], &set(&["a", "b"])).is_ok());
    assert!(check(&[wrote(&["a"])], &set(&[])).is_err(), "lost");
    assert!(check(&[read(&[&["a"]])], &set(&["b"])).is_err(), "undone");
    let two = [read(&[&["a"], &["b"]])];
    assert!(check(&two, &set(&["a", "b"])).is_err(), "two histories");
    assert!(check(&[wrote(&["a"])], &set(&["a", "b"])).is_err(), "nobody wrote it");
}
