//! Runs of periodic and parameterized jobs: what makes them, what is refused, what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AllocId, AllocReport, Allocation, ClientStatus, Job, JobId, JobStatus, JobType, Parameterized,
    Payload, Periodic, Timestamp, seeded_uuid,
};
use state::{
    Command, Dispatch, FileOutcome, Garbage, JobSubmission, LIVE_CHILDREN, Launch, Plan, State,
    TakeRevision,
};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

struct World(State);

impl World {
    fn new(job: Job) -> Self {
        let mut world = Self(State::default());
        world.take(Some(job), 100);
        world
    }

    fn apply(&mut self, command: &Command) -> Result<(), String> {
        let bytes = command.to_bytes().expect("is written");
        let command = Command::from_bytes(&bytes).expect("is read");
        let applied = self.0.apply(self.0.index() + 1, &command);
        applied.rejection.map_or(Ok(()), |rejection| Err(rejection.to_string()))
    }

    fn take(&mut self, job: Option<Job>, secs: i64) {
        let outcome = job.map_or(FileOutcome::Removed, |job| FileOutcome::Job {
            blob: "b".into(),
            submission: JobSubmission { job: Arc::new(job) },
            problems: Vec::new(),
        });
        let taken = TakeRevision {
            repo: "fleet".to_owned(),
            commit: format!("c{secs}").into(),
            expected_head: self.0.repo("fleet").and_then(|record| record.head.clone()),
            files: [("jobs/a.hcl".to_owned(), outcome)].into(),
            at: at(secs),
            ..TakeRevision::default()
        };
        self.apply(&Command::TakeRevision(Box::new(taken))).expect("is taken in");
    }

    fn launch(&mut self, version: u64, run_of: i64) -> Result<(), String> {
        let launch = Launch {
            job: "a".into(),
            version,
            run_of: at(run_of),
            at: at(run_of),
            ..Launch::default()
        };
        self.apply(&Command::LaunchPeriodic(launch))
    }

    fn force(&mut self, secs: i64) -> Result<(), String> {
        let launch = Launch {
            job: "a".into(),
            run_of: at(secs),
            forced: true,
            at: at(secs),
            ..Launch::default()
        };
        self.apply(&Command::LaunchPeriodic(launch))
    }

    fn dispatch(&mut self, with: impl FnOnce(&mut Dispatch)) -> Result<(), String> {
        let n = self.0.jobs().count() as u32;
        let mut dispatch = Dispatch {
            job: "a".into(),
            child: JobId::from("a").dispatch_child("", at(200), n),
            at: at(200),
            ..Dispatch::default()
        };
        with(&mut dispatch);
        self.apply(&Command::DispatchJob(Box::new(dispatch)))
    }

    fn children(&self) -> Vec<String> {
        self.0.children_of_job(&"a".into()).map(|record| record.id.to_string()).collect()
    }

    fn live(&self) -> usize {
        self.0.live_children_of_job(&"a".into()).len()
    }

    fn place(&mut self, job: &str, n: u8) {
        let alloc = Allocation { id: id(n), job: job.into(), ..Allocation::default() };
        let plan = Plan { basis: self.0.index(), place: vec![alloc], ..Plan::default() };
        self.apply(&Command::ApplyPlan(Box::new(plan))).expect("is placed");
    }

    fn end(&mut self, n: u8) {
        let report =
            AllocReport { alloc: id(n), client: ClientStatus::Complete, ..AllocReport::default() };
        let update = Command::UpdateAllocs { updates: vec![report], at: at(300) };
        self.apply(&update).expect("is reported");
    }

    fn finish(&mut self, jobs: &[&str]) {
        let finished = jobs.iter().map(|id| JobId::from(*id)).collect();
        let plan = Plan { basis: self.0.index(), at: at(400), finished, ..Plan::default() };
        self.apply(&Command::ApplyPlan(Box::new(plan))).expect("is applied");
    }

    /// What a snapshot brings back says the same.
    fn again(&self) -> Self {
        Self(State::from_bytes(&self.0.to_bytes().expect("is written")).expect("is read"))
    }
}

fn id(n: u8) -> AllocId {
    AllocId::new(seeded_uuid(&[&[n]]))
}

fn periodic(cron: &str) -> Job {
    let periodic = Periodic { specs: vec![cron.to_owned()], ..Periodic::default() };
    Job { id: "a".into(), kind: JobType::Batch, periodic: Some(periodic), ..Job::default() }
}

fn parameterized(payload: &str) -> Job {
    let asked = Parameterized {
        payload: payload.to_owned(),
        meta_required: vec!["to".to_owned()],
        meta_optional: vec!["cc".to_owned()],
    };
    Job {
        id: "a".into(),
        kind: JobType::Batch,
        priority: 50,
        meta: [("team", "x"), ("cc", "nobody")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        parameterized_job: Some(asked),
        ..Job::default()
    }
}

fn to(who: &str) -> BTreeMap<String, String> {
    [("to".to_owned(), who.to_owned())].into()
}

#[test]
fn a_time_has_one_run() {
    let mut world = World::new(periodic("@hourly"));
    assert_eq!(world.0.job_status(&"a".into()), JobStatus::Running, "it waits for its times");
    assert!(world.launch(0, 100).is_err(), "a time before it was taken in");
    world.launch(0, 3_600).expect("starts");
    assert!(world.launch(0, 3_600).is_err(), "another leader said the same");
    assert!(world.launch(1, 7_200).is_err(), "a version that is not there");
    assert_eq!(world.children(), ["a/periodic-3600"]);
    let record = world.0.job(&"a/periodic-3600".into()).expect("is there");
    let version = record.current().expect("has a version");
    assert_eq!(
        (version.job.periodic.as_ref(), version.job.name.as_str()),
        (None, "a/periodic-3600")
    );
    assert_eq!(version.origin.path, "jobs/a.hcl");
    assert!(version.starts_by_itself());
    assert_eq!(world.0.job_status(&record.id), JobStatus::Pending);
    let launches = world.0.job(&"a".into()).expect("is there").launches;
    assert_eq!((launches.settled, launches.last), (at(3_600), at(3_600)));
}

#[test]
fn what_is_forced_moves_no_time() {
    let mut world = World::new(periodic("@hourly"));
    world.force(3_500).expect("starts");
    assert!(world.force(3_500).is_err(), "twice in a second");
    assert_eq!(world.0.job(&"a".into()).expect("is there").launches.settled, at(100));
    world.launch(0, 3_600).expect("starts");
    world.force(7_200).expect("starts");
    world.launch(0, 7_200).expect("is settled by the run of the same second");
    assert_eq!(world.children().len(), 3);
    let off = Periodic { enabled: false, ..periodic("@hourly").periodic.expect("is there") };
    world.take(Some(Job { periodic: Some(off), ..periodic("@hourly") }), 7_300);
    assert!(world.force(7_400).expect_err("is off").contains("switched off"));
    world.take(Some(Job { periodic: None, ..periodic("@hourly") }), 7_500);
    assert!(world.force(7_600).expect_err("is ordinary").contains("not periodic"));
}

#[test]
fn a_schedule_that_changes_begins_anew_and_another_change_does_not_matter() {
    let settled = |world: &World| world.0.job(&"a".into()).expect("is there").launches.settled;
    let mut world = World::new(periodic("@hourly"));
    world.launch(0, 3_600).expect("starts");
    world.take(Some(Job { priority: 60, ..periodic("@hourly") }), 4_000);
    assert_eq!(settled(&world), at(3_600));
    world.launch(1, 7_200).expect("starts as it is now");
    let child = world.0.job(&"a/periodic-7200".into()).and_then(|record| record.job());
    assert_eq!(child.expect("is there").priority, 60);
    let before = world.0.job(&"a/periodic-3600".into()).and_then(|record| record.job());
    assert_eq!(before.expect("goes on as it was").priority, 0);
    world.take(Some(periodic("@daily")), 8_000);
    assert_eq!(settled(&world), at(8_000));
    world.take(None, 8_100);
    world.take(Some(periodic("@daily")), 9_000);
    assert_eq!(settled(&world), at(9_000));
}

#[test]
fn runs_stop_with_their_job() {
    let mut world = World::new(periodic("@hourly"));
    world.launch(0, 3_600).expect("starts");
    world.launch(0, 7_200).expect("starts");
    world.place("a/periodic-3600", 1);
    world.end(1);
    world.finish(&["a/periodic-3600", "a"]);
    assert_eq!((world.live(), world.again().live()), (1, 1));
    world.take(None, 8_000);
    let stopped = |id: &str| world.0.job(&id.into()).expect("is there").stopped;
    assert!(stopped("a") && stopped("a/periodic-7200"));
    assert!(!stopped("a/periodic-3600"), "it was over");
    assert_eq!(world.0.job_status(&"a".into()), JobStatus::Dead);
    assert_eq!(world.0.job_status(&"a/periodic-3600".into()), JobStatus::Dead);
    assert!(world.force(9_000).expect_err("is stopped").contains("stopped"));
}

#[test]
fn a_run_that_is_over_goes_whole_and_one_that_is_not_stays() {
    let mut world = World::new(periodic("@hourly"));
    for n in [1, 2] {
        world.launch(0, i64::from(n) * 3_600).expect("starts");
        world.place(&format!("a/periodic-{}", i64::from(n) * 3_600), n);
    }
    world.finish(&["a/periodic-3600"]);
    assert_eq!(world.live(), 2, "it runs");
    world.end(1);
    world.finish(&["a/periodic-3600"]);
    let children = vec!["a/periodic-3600".into(), "a/periodic-7200".into(), "a".into()];
    let garbage = Garbage { children, ..Garbage::default() };
    world.apply(&Command::CollectGarbage(garbage)).expect("is collected");
    assert_eq!(world.children(), ["a/periodic-7200"]);
    assert!(world.0.alloc(id(1)).is_none() && world.0.alloc(id(2)).is_some());
    assert!(world.0.job(&"a".into()).is_some());
}

#[test]
fn a_dispatch_brings_what_the_job_asks_for() {
    let mut world = World::new(parameterized("required"));
    let payload = || Payload::from(b"hunter2".to_vec());
    for (words, with) in [
        (
            "needs a payload",
            Box::new(|d: &mut Dispatch| d.meta = to("x")) as Box<dyn FnOnce(&mut Dispatch)>,
        ),
        ("needs metadata that was not given: `to`", Box::new(move |d| d.payload = payload())),
        (
            "takes no such metadata: `bcc`",
            Box::new(move |d| {
                d.payload = payload();
                d.meta = to("x");
                d.meta.insert("bcc".to_owned(), "y".to_owned());
            }),
        ),
        (
            "16385 bytes",
            Box::new(|d| {
                d.payload = Payload::from(vec![0; Payload::LIMIT + 1]);
                d.meta = to("x");
            }),
        ),
        (
            "priority 101",
            Box::new(move |d| {
                d.payload = payload();
                d.meta = to("x");
                d.priority = Some(101);
            }),
        ),
        (
            "the metadata has",
            Box::new(move |d| {
                d.payload = payload();
                d.meta = to(&"x".repeat(70_000));
            }),
        ),
        (
            "cannot be the name",
            Box::new(move |d| {
                d.payload = payload();
                d.meta = to("x");
                d.child = "b/dispatch-1-00000000".into();
            }),
        ),
        ("no job `b`", Box::new(|d| d.job = "b".into())),
    ] {
        let refused = world.dispatch(with).expect_err(words);
        assert!(refused.contains(words), "{refused}");
        assert!(!refused.contains("hunter"), "{refused}");
    }
    world
        .dispatch(|d| {
            d.payload = payload();
            d.meta = to("x");
        })
        .expect("is taken");
    let world = world.again();
    let [child] = &world.children()[..] else { panic!("one child") };
    let version = world.0.job_version(&child.as_str().into(), 0).expect("is there");
    assert_eq!(&version.payload[..], b"hunter2");
    let meta: Vec<_> = version.job.meta.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(meta, [("cc", "nobody"), ("team", "x"), ("to", "x")]);
    assert!(version.starts_by_itself() && version.job.parameterized_job.is_some());
    assert!(!format!("{:?}", world.0).contains("hunter"), "it is nowhere shown");
    let mut forbids = World::new(parameterized("forbidden"));
    let refused = forbids.dispatch(|d| d.payload = payload()).expect_err("is forbidden");
    assert!(refused.contains("takes no payload"), "{refused}");
    let refused = World::new(periodic("@hourly")).dispatch(|_| {}).expect_err("is periodic");
    assert!(refused.contains("not parameterized"), "{refused}");
}

#[test]
fn a_token_finds_its_run_while_that_is_known() {
    let mut world = World::new(parameterized("optional"));
    let again = |world: &mut World| {
        world
            .dispatch(|d| {
                d.meta = to("x");
                d.idempotency_token = "t".to_owned();
            })
            .expect("is taken");
        world.0.dispatched_with(&"a".into(), "t").cloned().expect("is known")
    };
    let first = again(&mut world);
    assert_eq!(again(&mut world), first);
    assert_eq!(again(&mut world.again()), first);
    assert_eq!(world.children().len(), 1);
    world.finish(&[first.as_str()]);
    assert_eq!(again(&mut world), first, "a run that is over is still known");
    let garbage = Garbage { children: vec![first.clone()], ..Garbage::default() };
    world.apply(&Command::CollectGarbage(garbage)).expect("is collected");
    assert_ne!(again(&mut world), "".into());
    assert_eq!(world.children().len(), 1);
}

#[test]
fn runs_that_are_not_over_are_bounded() {
    let mut world = World::new(parameterized("optional"));
    for _ in 0..LIVE_CHILDREN {
        world.dispatch(|d| d.meta = to("x")).expect("there is room");
    }
    let refused = world.dispatch(|d| d.meta = to("x")).expect_err("too many");
    assert!(refused.contains("not over yet"), "{refused}");
    let first = world.children()[0].clone();
    world.finish(&[&first]);
    world.dispatch(|d| d.meta = to("x")).expect("there is room again");
}

#[test]
fn children_of_a_job_are_told_from_jobs_of_like_names() {
    let mut world = World::new(periodic("@hourly"));
    world.launch(0, 3_600).expect("starts");
    let mut other = World::new(Job { id: "a/b".into(), ..periodic("@hourly") });
    let launch = Launch { job: "a/b".into(), run_of: at(3_600), ..Launch::default() };
    other.apply(&Command::LaunchPeriodic(launch)).expect("starts");
    let names = |parent: &str| -> Vec<String> {
        other.0.children_of_job(&parent.into()).map(|record| record.id.to_string()).collect()
    };
    assert_eq!(names("a/b"), ["a/b/periodic-3600"]);
    assert!(names("a").is_empty());
}
