//! Runs of many seeds, a run of one on request, and proof that a broken rule is noticed.

use std::time::{Duration, Instant};

use super::schedule::Schedule;
use super::shrink::shrink;
use super::spoil::Spoil;
use super::world::{Outcome, run};

/// Where the seeds of the tests begin.
const FIRST: u64 = 1;
/// Runs that shrinking may take.
const TRIES: usize = 400;

/// Runs a schedule; what panics has failed as well.
fn guarded(schedule: &Schedule, spoil: Option<Spoil>) -> Outcome {
    let run = std::panic::AssertUnwindSafe(|| run(schedule, spoil));
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Outcome {
            failure: Some(format!("panic: {}", words.unwrap_or_default())),
            ended: 0,
            entries: 0,
            placed: 0,
            trace: Default::default(),
        }
    })
}

/// Makes a failing schedule small.
fn smallest(schedule: Schedule, rule: &str, spoil: Option<Spoil>) -> Schedule {
    shrink(schedule, TRIES, |candidate| guarded(candidate, spoil).rule() == Some(rule))
}

/// What a person needs of a failure: the rule, the smallest schedule, and how to see it again.
fn report(schedule: Schedule, outcome: &Outcome) -> String {
    let (seed, rule) = (schedule.seed, outcome.rule().unwrap_or_default().to_owned());
    let small = smallest(schedule, &rule, None);
    let again = guarded(&small, None);
    let text = serde_json::to_string(&small).expect("a schedule is plain data");
    format!(
        "seed {seed} breaks {rule}\n{}\n\nshrunk to {} actions:\n{}\nat {} ms\n\n{text}\n\nto see it again:\n  \
         HERDER_SIMULATION=seed:{seed} cargo test -p herder-server --lib simulation::tests::on_request\n  or write the \
         schedule to a file and set HERDER_SIMULATION to its path",
        outcome.failure.as_deref().unwrap_or_default(),
        small.actions.len(),
        again.failure.as_deref().unwrap_or("(it holds now)"),
        again.ended,
    )
}

/// Runs `count` seeds from `first`.
fn hold(first: u64, count: u64) {
    for seed in first..first + count {
        let schedule = Schedule::of(seed);
        let outcome = guarded(&schedule, None);
        assert!(outcome.failure.is_none(), "{}", report(schedule, &outcome));
    }
}

/// Seeds of each quarter.
const SHARE: u64 = 75;

#[test]
fn the_laws_hold_in_the_first_quarter() {
    hold(FIRST, SHARE);
}

#[test]
fn the_laws_hold_in_the_second_quarter() {
    hold(FIRST + SHARE, SHARE);
}

#[test]
fn the_laws_hold_in_the_third_quarter() {
    hold(FIRST + 2 * SHARE, SHARE);
}

#[test]
fn the_laws_hold_in_the_fourth_quarter() {
    hold(FIRST + 3 * SHARE, SHARE);
}

/// Seeds that broke a law once, and what was wrong.
const KEPT: [(u64, &str); 10] = [
    (20_177, "the version of an allocation that had ended was forgotten before the allocation"),
    (
        30_898,
        "others took the room of places that we had emptied, and the gate counted one of them",
    ),
    (32_621, "one that was to move and did not start was forgotten"),
    (31_160, "what said that an update had emptied a place was collected"),
    (32_459, "what said that an update had emptied a place was collected"),
    (31_734, "a plan stopped what had come to serve since it was made"),
    (34_198, "the rule took what was made up for, and driven out later, for our doing"),
    (32_678, "the rule did not know that a place is done whose first one is back"),
    (30_988, "what was read back of a score did not equal what was written"),
    (31_309, "what was read back of a score did not equal what was written"),
];

#[test]
fn the_laws_hold_where_they_did_not_once() {
    for (seed, what) in KEPT {
        let schedule = Schedule::of(seed);
        let outcome = guarded(&schedule, None);
        assert!(outcome.failure.is_none(), "once {what}\n{}", report(schedule, &outcome));
    }
}

#[test]
fn a_schedule_runs_the_same_each_time() {
    for seed in FIRST..FIRST + 6 {
        let schedule = Schedule::of(seed);
        let text = serde_json::to_string(&schedule).expect("is written");
        let read: Schedule = serde_json::from_str(&text).expect("is read");
        assert_eq!(read, schedule);
        let (one, other) = (run(&schedule, None), run(&read, None));
        assert!(one.entries > 10, "something happens");
        assert_eq!((one.trace, one.entries, one.ended), (other.trace, other.entries, other.ended));
        assert_eq!(one.failure, other.failure);
    }
    let traces: std::collections::BTreeSet<String> = (FIRST..FIRST + 6)
        .map(|seed| format!("{:?}", run(&Schedule::of(seed), None).trace))
        .collect();
    assert_eq!(traces.len(), 6, "seeds differ");
}

/// How many seeds may pass before a broken rule is noticed.
const NOTICED_WITHIN: u64 = 400;

/// The first seed that notices it, and what it says.
fn noticed(spoil: Spoil) -> (u64, Schedule, Outcome) {
    for seed in FIRST..FIRST + NOTICED_WITHIN {
        let schedule = Schedule::of(seed);
        let outcome = guarded(&schedule, Some(spoil));
        if outcome.failure.is_some() {
            return (seed, schedule, outcome);
        }
    }
    panic!("{spoil:?} is not noticed in {NOTICED_WITHIN} seeds");
}

#[test]
fn a_gate_that_lets_all_through_is_noticed_and_shrunk() {
    let (seed, schedule, outcome) = noticed(Spoil::OpenGate);
    let small = smallest(schedule, outcome.rule().unwrap_or_default(), Some(Spoil::OpenGate));
    let outcome = guarded(&small, Some(Spoil::OpenGate));
    println!("seed {seed}: {small:?}\n{:?}", outcome.failure);
    assert_eq!(outcome.rule(), Some("S1"));
    assert!(small.actions.len() <= 4, "{small:#?}");
}

#[test]
fn every_broken_rule_is_noticed() {
    for spoil in Spoil::ALL {
        let (seed, _, outcome) = noticed(spoil);
        let first = outcome.failure.unwrap_or_default();
        println!("{spoil:?}: seed {seed}: {}", first.lines().next().unwrap_or_default());
    }
}

/// What `HERDER_SIMULATION` asks for: `seed:N`, or the path of a schedule.
#[test]
fn on_request() {
    let Ok(wanted) = std::env::var("HERDER_SIMULATION") else { return };
    let schedule = match wanted.strip_prefix("seed:") {
        Some(seed) => Schedule::of(seed.parse().expect("a seed is a number")),
        None => {
            let text = std::fs::read_to_string(&wanted).expect("the schedule can be read");
            serde_json::from_str(&text).expect("it is a schedule")
        }
    };
    let outcome = guarded(&schedule, None);
    println!("{schedule:#?}\n{outcome:#?}");
    assert!(outcome.failure.is_none(), "{}", report(schedule, &outcome));
}

/// What `tests/simulate` runs: new seeds for as long as `HERDER_SIMULATE_SECONDS` says, on one core. Each process takes
/// every `HERDER_SIMULATE_STEP`th seed from `HERDER_SIMULATE_FIRST`.
#[test]
fn for_as_long_as_is_asked() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let Some(seconds) = number("HERDER_SIMULATE_SECONDS") else { return };
    let (first, step) = (
        number("HERDER_SIMULATE_FIRST").unwrap_or(FIRST),
        number("HERDER_SIMULATE_STEP").unwrap_or(1).max(1),
    );
    let (began, until) = (Instant::now(), Duration::from_secs(seconds));
    let (mut runs, mut millis, mut entries, mut placed) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut worst = (Duration::ZERO, first);
    let mut broken: std::collections::BTreeMap<String, (u64, u64)> = Default::default();
    let mut seed = first;
    let keep_going = std::env::var_os("HERDER_SIMULATE_SURVEY").is_some();
    while began.elapsed() < until {
        let (schedule, at) = (Schedule::of(seed), Instant::now());
        let outcome = guarded(&schedule, None);
        let took = at.elapsed();
        if took > worst.0 {
            worst = (took, seed);
        }
        if let Some(rule) = outcome.rule() {
            assert!(keep_going, "{}", report(schedule, &outcome));
            let failure = outcome.failure.as_deref().unwrap_or_default();
            println!("seed {seed}: {}", failure.lines().next().unwrap_or_default());
            broken.entry(rule.to_owned()).or_insert((0, seed)).0 += 1;
        }
        runs += 1;
        millis += outcome.ended;
        entries += outcome.entries;
        placed += outcome.placed;
        seed += step;
    }
    println!(
        "{runs} runs, {:.1} virtual hours, {entries} entries, {placed} placements, {:.1} runs/s; slowest seed {} took \
         {:?}; broken: {broken:?}; next seed {seed}",
        millis as f64 / 3_600_000.0,
        runs as f64 / began.elapsed().as_secs_f64(),
        worst.1,
        worst.0,
    );
}
