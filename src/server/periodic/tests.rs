use std::collections::BTreeSet;

use model::{Job, JobType, Periodic};
use proptest::prelude::*;
use state::{FileOutcome, JobSubmission, Plan, TakeRevision};

use super::*;

/// A state, a time, and leaders that come and go.
struct World {
    state: State,
    now: i64,
    timetable: Timetable,
    skipped: usize,
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn secs(text: &str) -> i64 {
    match text {
        "2026-03-28 12:00" => 1_774_699_200,
        "2026-10-24 12:00" => 1_792_843_200,
        other => panic!("{other} is not worked out"),
    }
}

fn job(specs: &[&str]) -> Job {
    let specs = specs.iter().map(|spec| (*spec).to_owned()).collect();
    let periodic = Periodic { specs, ..Periodic::default() };
    Job { id: "a".into(), kind: JobType::Batch, periodic: Some(periodic), ..Job::default() }
}

fn with(mut job: Job, change: impl FnOnce(&mut Periodic)) -> Job {
    change(job.periodic.get_or_insert_default());
    job
}

impl World {
    fn new(job: Job, now: i64) -> Self {
        let (state, timetable) = (State::default(), Timetable::default());
        let mut world = Self { state, now, timetable, skipped: 0 };
        world.take(Some(job));
        world
    }

    fn apply(&mut self, command: &Command) {
        let applied = self.state.apply(self.state.index() + 1, command);
        assert_eq!(applied.rejection, None, "{command:?}");
    }

    fn take(&mut self, job: Option<Job>) {
        let outcome = job.map_or(FileOutcome::Removed, |job| FileOutcome::Job {
            blob: "b".into(),
            submission: JobSubmission { job: Arc::new(job) },
            problems: Vec::new(),
        });
        let taken = TakeRevision {
            commit: format!("c{}", self.state.index()).into(),
            expected_head: self.state.repo("").and_then(|record| record.head.clone()),
            files: [("a.hcl".to_owned(), outcome)].into(),
            at: at(self.now),
            ..TakeRevision::default()
        };
        self.apply(&Command::TakeRevision(Box::new(taken)));
    }

    /// One look, and what it leads to.
    fn look(&mut self) -> Step {
        let step = self.timetable.step(&self.state, at(self.now));
        for command in &step.commands {
            self.skipped += usize::from(matches!(command, Command::SkipPeriodic(_)));
            self.apply(command);
        }
        step
    }

    /// Looks whenever a look was asked for, until then.
    fn run_until(&mut self, end: i64) {
        loop {
            let step = self.look();
            if !step.commands.is_empty() {
                continue;
            }
            match step.wake {
                Some(wake) if wake <= at(end) => self.now = wake.whole_seconds(),
                _ => break,
            }
        }
        self.now = end;
    }

    fn another_leader(&mut self) {
        self.timetable = Timetable::default();
    }

    fn finish_all(&mut self) {
        let finished = self.state.live_children_of_job(&"a".into()).cloned().collect();
        let basis = self.state.index();
        let plan = Plan { basis, at: at(self.now), finished, ..Plan::default() };
        self.apply(&Command::ApplyPlan(Box::new(plan)));
    }

    fn runs(&self) -> Vec<i64> {
        let all = self.state.children_of_job(&"a".into());
        let mut runs: Vec<i64> =
            all.filter_map(|record| Some(record.child()?.run_of.whole_seconds())).collect();
        runs.sort_unstable();
        runs
    }
}

#[test]
fn a_job_starts_at_its_times_and_not_before_it_was_there() {
    let mut world = World::new(job(&["@hourly", "30 * * * *"]), 3_601);
    assert_eq!(world.look(), Step { commands: Vec::new(), wake: Some(at(5_400)) });
    world.run_until(11_000);
    assert_eq!(world.runs(), [5_400, 7_200, 9_000, 10_800].map(i64::from));
}

#[test]
fn what_nobody_was_there_for_is_made_up_once() {
    let mut world = World::new(job(&["@hourly"]), 100);
    world.run_until(3_700);
    // Nobody leads for three hours and a half.
    world.now = 3_600 * 4 + 1_800;
    world.another_leader();
    let step = world.look();
    assert_eq!((step.commands.len(), world.runs()), (1, vec![3_600, 14_400]));
    assert_eq!(world.look(), Step { commands: Vec::new(), wake: Some(at(18_000)) });
    world.another_leader();
    assert!(world.look().commands.is_empty(), "the next leader knows");
}

#[test]
fn what_two_leaders_decide_happens_once() {
    let mut world = World::new(job(&["@hourly"]), 100);
    world.now = 3_600;
    let one = world.timetable.step(&world.state, at(world.now));
    let other = Timetable::default().step(&world.state, at(world.now));
    assert_eq!(one, other);
    world.apply(&one.commands[0]);
    let again = world.state.apply(world.state.index() + 1, &other.commands[0]);
    assert!(again.rejection.is_some());
    assert_eq!(world.runs(), [3_600]);
}

#[test]
fn runs_that_may_not_overlap_are_left_out() {
    let mut world = World::new(with(job(&["@hourly"]), |of| of.prohibit_overlap = true), 100);
    world.run_until(3_600 * 3 + 10);
    assert_eq!((world.runs(), world.skipped), (vec![3_600], 2));
    world.finish_all();
    assert!(world.look().commands.is_empty(), "what was left out is not made up");
    world.run_until(3_600 * 4);
    assert_eq!(world.runs(), [3_600, 14_400]);
    let mut world = World::new(job(&["@hourly"]), 100);
    world.run_until(3_600 * 3);
    assert_eq!(world.runs().len(), 3, "others may");
}

#[test]
fn there_is_an_end_to_what_can_pile_up() {
    let mut world = World::new(job(&["* * * * * * *"]), 100);
    world.run_until(100 + LIVE_CHILDREN as i64 + 5);
    assert_eq!((world.runs().len(), world.skipped), (LIVE_CHILDREN, 5));
    world.finish_all();
    world.run_until(world.now + 1);
    assert_eq!(world.runs().len(), LIVE_CHILDREN + 1);
}

#[test]
fn a_schedule_that_changes_makes_nothing_up() {
    let mut world = World::new(job(&["@hourly"]), 100);
    world.run_until(3_600);
    world.now = 5_000;
    world.take(Some(job(&["15 * * * *"])));
    assert_eq!(world.look().wake, Some(at(8_100)), "not the quarter past that is gone");
    // Missed, and then changed in another way: the run is as the file says now.
    world.now = 8_200;
    world.take(Some(Job { priority: 70, ..job(&["15 * * * *"]) }));
    world.look();
    assert_eq!(world.runs(), [3_600, 8_100]);
    let child = world.state.job(&"a/periodic-8100".into()).and_then(|record| record.job());
    assert_eq!(child.map(|job| job.priority), Some(70));
    world.take(Some(with(job(&["15 * * * *"]), |of| of.enabled = false)));
    assert_eq!(world.look(), Step::default(), "it is switched off");
    world.now = 20_000;
    world.take(Some(job(&["15 * * * *"])));
    assert_eq!(world.look().wake, Some(at(22_500)), "and begins anew");
    world.take(None);
    assert_eq!(world.look(), Step::default());
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing() {
    let mut world = World::new(job(&["@hourly"]), 100);
    world.run_until(7_200);
    world.now = 3_000;
    assert!(world.look().commands.is_empty());
    world.another_leader();
    world.run_until(7_300);
    assert_eq!(world.runs(), [3_600, 7_200]);
}

#[test]
fn summer_and_winter_time_have_one_run_a_night() {
    for (from, runs) in [
        // 2:30 is not there: 3:00, which is 01:00 in UTC.
        ("2026-03-28 12:00", [1_774_746_000, 1_774_830_600]),
        // 2:30 comes twice: the first, which is 00:30 in UTC.
        ("2026-10-24 12:00", [1_792_888_200, 1_792_978_200]),
    ] {
        let berlin = with(job(&["30 2 * * *"]), |of| of.time_zone = "Europe/Berlin".to_owned());
        let mut world = World::new(berlin, secs(from));
        world.run_until(secs(from) + 48 * 3_600);
        assert_eq!(world.runs(), runs, "{from}");
    }
}

#[test]
fn the_next_time_is_known() {
    let world = World::new(job(&["@hourly"]), 100);
    let record = world.state.job(&"a".into()).expect("is there");
    assert_eq!(next_launch(record, at(200)), Some(at(3_600)));
    assert_eq!(next_launch(record, at(3_600)), Some(at(7_200)));
    let off = World::new(with(job(&["@hourly"]), |of| of.enabled = false), 100);
    assert_eq!(next_launch(off.state.job(&"a".into()).expect("is there"), at(200)), None);
}

#[test]
fn what_cannot_be_read_holds_nothing_up() {
    let mut world = World::new(with(job(&["@hourly"]), |of| of.time_zone = "Nowhere".into()), 100);
    assert_eq!(world.look(), Step::default());
}

proptest! {
    /// Whatever leaders come and go, and however long nobody leads: no time has two runs, none before the job was there
    /// has one, and each time that somebody leads through has its own.
    #[test]
    fn each_time_has_its_run_once(
        begin in 0_i64..4_000,
        steps in prop::collection::vec((1_i64..9_000, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut world = World::new(job(&["*/20 * * * *"]), begin);
        let mut owed = BTreeSet::new();
        for (span, leads, changes) in steps {
            let before = world.now;
            if leads {
                let late = (before / 1_200) * 1_200;
                let seen = world.runs();
                let missed = late > begin && seen.iter().all(|run| *run < late);
                if missed {
                    owed.insert(late);
                }
                let end = before + span;
                owed.extend((before + 1..=end).filter(|time| time % 1_200 == 0));
                world.run_until(end);
            } else {
                world.now += span;
            }
            if changes {
                world.another_leader();
            }
        }
        let runs = world.runs();
        let distinct: BTreeSet<i64> = runs.iter().copied().collect();
        prop_assert_eq!(distinct.len(), runs.len());
        prop_assert!(runs.iter().all(|run| *run > begin && run % 1_200 == 0));
        prop_assert_eq!(distinct, owed);
    }
}
