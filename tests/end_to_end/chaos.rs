//! `kill -9` of the agent again and again while commits change, add and remove jobs of all drivers, about fifty tasks at a
//! time. What must hold at any moment is looked at in each cycle; at quiet points an auditor compares the whole machine
//! with what the agent says of it.
//!
//! It runs for about a minute. `HERDER_CHAOS_CYCLES` sets a number of cycles instead, `HERDER_CHAOS_SEED` repeats a run,
//! as far as two runs on a real machine can be the same; a failure prints its seed. `tests/chaos` runs 500 cycles.

mod auditor;
mod dice;
mod machine;
mod story;
mod work;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::auditor::{Auditor, at_any_moment};
use self::dice::Dice;
use self::work::Wanted;
use crate::agent::Agent;
use crate::repository::Repository;

/// Cycles between two audits.
const QUIET_EVERY: u32 = 5;

/// How long new cycles are begun when nobody says how many.
const SPAN: Duration = Duration::from_secs(45);

/// How long fifty tasks may take to become quiet on a loaded machine.
const SETTLE: Duration = Duration::from_secs(180);

#[test]
fn kill_9_at_any_moment_neither_doubles_nor_loses_a_task() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("HERDER_CHAOS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::try_from(now.as_nanos() % 1_000_000_007).expect("fits")
    });
    eprintln!("HERDER_CHAOS_SEED={seed}");
    let cycles = number("HERDER_CHAOS_CYCLES").and_then(|cycles| u32::try_from(cycles).ok());
    run(&mut Dice::new(seed), cycles);
}

fn run(dice: &mut Dice, cycles: Option<u32>) {
    let repo = Repository::new();
    let mut wanted = Wanted::fifty_tasks(dice);
    wanted.commit(&repo);
    let _bridge = Bridge::new();
    let mut agent = Agent::start_configured(&config(&repo));
    let mut auditor = Auditor::default();
    let begin = Instant::now();
    let mut cycle = 0;
    let mut kills = 0;
    loop {
        cycle += 1;
        for _ in 0..=dice.below(4) {
            wanted.change(dice);
        }
        wanted.commit(&repo);
        // Anywhere from before the agent has heard of it to the midst of a rollout.
        std::thread::sleep(Duration::from_millis(dice.below(900)));
        agent.kill();
        if dice.below(3) == 0 {
            wanted.change(dice);
            wanted.commit(&repo);
            std::thread::sleep(Duration::from_millis(dice.below(500)));
        }
        agent.launch();
        kills += 1;
        if dice.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(150)));
            agent.kill();
            agent.launch();
            kills += 1;
        }
        if let Err(problem) = at_any_moment(&agent) {
            panic!("cycle {cycle}: {problem}");
        }
        let last = cycles.map_or_else(|| begin.elapsed() > SPAN, |cycles| cycle >= cycles);
        if cycle % QUIET_EVERY == 0 || last {
            settle(&mut agent, &mut auditor, &wanted, cycle);
            kills += 2;
        }
        if last {
            break;
        }
    }
    println!(
        "{cycle} cycles with {kills} kills in {} s, {} audits without a finding: {auditor}",
        begin.elapsed().as_secs(),
        2 * cycle.div_ceil(QUIET_EVERY),
    );
}

/// Files of what is over go soon, so that their going is a part of the storm.
fn config(repo: &Repository) -> String {
    let (bridge, subnet) = (machine::bridge(), machine::addresses());
    let url = repo.path().display();
    format!(
        "log_level = \"info\"\nclient {{\n  gc_interval = \"2s\"\n  gc_max_allocs = 70\n  \
         bridge_network_name = \"{bridge}\"\n  bridge_network_subnet = \"{subnet}0/24\"\n}}\n\
         repo \"chaos\" {{\n  url = \"{url}\"\n}}\n"
    )
}

/// Goes with the run, and what is kept of its addresses too: another run may be given the same number.
struct Bridge;

impl Bridge {
    /// Whoever had the number before may have been killed and left its leases.
    fn new() -> Self {
        machine::forget_bridge();
        Self
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        machine::forget_bridge();
    }
}

/// Waits until the machine is as the commit says, and stays so when the agent is killed once more.
fn settle(agent: &mut Agent, auditor: &mut Auditor, wanted: &Wanted, cycle: u32) {
    for round in ["after the storm", "after one more kill"] {
        let begin = Instant::now();
        let mut next = SETTLE / 8;
        while let Err(problem) = auditor.audit(agent, &wanted.jobs) {
            assert!(
                begin.elapsed() < SETTLE,
                "cycle {cycle}, {round}: {problem}\n{}",
                String::from_utf8_lossy(&agent.herder(&["status"]).stdout)
            );
            if begin.elapsed() > next {
                eprintln!("{:?} {problem}", begin.elapsed());
                next *= 2;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let (tasks, took) = (wanted.tasks(), begin.elapsed().as_millis());
        eprintln!("cycle {cycle}, {tasks} tasks, {round}: {took} ms");
        agent.kill();
        agent.launch();
    }
}
