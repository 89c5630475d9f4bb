//! What single commands mean where it is easy to get wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AllocHealth, AllocId, AllocReport, Allocation, ClientStatus, Deployment, DeploymentGroup,
    DeploymentId, DeploymentStatus, FileChangeKind, Job, JobId, Timestamp, seeded_uuid,
};
use model::{PlacementAlgorithm, Preemption, RevisionOutcome, SchedulerConfig};
use state::{
    Command, DeploymentChange, FileOutcome, Garbage, JobSubmission, Plan, Rejection, Revert, State,
    StopAlloc, TakeRevision, renamed_path,
};

#[derive(Default)]
struct World {
    state: State,
}

fn file(id: &str, content: u16) -> FileOutcome {
    FileOutcome::Job {
        blob: format!("{id}{content}").as_str().into(),
        submission: JobSubmission {
            job: Arc::new(Job { id: id.into(), priority: content, ..Job::default() }),
        },
        problems: Vec::new(),
    }
}

fn alloc_id(n: u8) -> AllocId {
    AllocId::new(seeded_uuid(&[&[n]]))
}

fn deployment_id(n: u8) -> DeploymentId {
    DeploymentId::new(seeded_uuid(&[b"d", &[n]]))
}

impl World {
    fn apply(&mut self, command: Command) -> Option<Rejection> {
        self.state.apply(self.state.index() + 1, &command).rejection
    }

    fn revision(&self, repo: &str, commit: &str, files: &[(&str, FileOutcome)]) -> TakeRevision {
        TakeRevision {
            repo: repo.into(),
            commit: commit.into(),
            expected_head: self.state.repo(repo).and_then(|record| record.head.clone()),
            files: files.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect(),
            ..TakeRevision::default()
        }
    }

    fn take(&mut self, repo: &str, commit: &str, files: &[(&str, FileOutcome)]) {
        let taken = self.revision(repo, commit, files);
        assert_eq!(self.apply(Command::TakeRevision(Box::new(taken))), None);
    }

    fn plan(&mut self, plan: Plan) {
        let plan = Plan { basis: self.state.index(), ..plan };
        assert_eq!(self.apply(Command::ApplyPlan(Box::new(plan))), None);
    }

    fn place(&mut self, n: u8, job: &str, version: u64, deployment: Option<u8>) {
        let alloc = Allocation {
            id: alloc_id(n),
            job: job.into(),
            job_version: version,
            group: "g".into(),
            deployment: deployment.map(deployment_id),
            ..Allocation::default()
        };
        let deployments = deployment.map(|n| Deployment {
            id: deployment_id(n),
            job: job.into(),
            job_version: version,
            groups: [("g".to_owned(), DeploymentGroup { desired_total: 1, ..Default::default() })]
                .into(),
            ..Deployment::default()
        });
        let deployments = deployments.into_iter().collect();
        self.plan(Plan { place: vec![alloc], deployments, ..Plan::default() });
    }

    fn end(&mut self, deployment: u8, status: DeploymentStatus, plan: Plan) {
        let change = DeploymentChange {
            id: deployment_id(deployment),
            status: Some(status),
            ..DeploymentChange::default()
        };
        self.plan(Plan { deployment_changes: vec![change], ..plan });
    }

    fn report(&mut self, n: u8, client: ClientStatus, healthy: Option<bool>) {
        let update = AllocReport {
            alloc: alloc_id(n),
            client,
            health: healthy.map(|healthy| AllocHealth { healthy, ..AllocHealth::default() }),
            deployment: self.state.alloc(alloc_id(n)).and_then(|alloc| alloc.deployment),
            ..AllocReport::default()
        };
        let updates = vec![update];
        assert_eq!(self.apply(Command::UpdateAllocs { updates, at: Timestamp::ZERO }), None);
    }

    fn stopped(&self, job: &str) -> bool {
        self.state.job(&job.into()).expect("is known").stopped
    }

    fn versions(&self, job: &str) -> Vec<u64> {
        let record = self.state.job(&job.into()).expect("is known");
        record.versions.iter().map(|version| version.version).collect()
    }

    fn outcome(&self, commit: &str) -> RevisionOutcome {
        let revision =
            self.state.revisions().find(|known| known.commit.as_str() == commit).expect("is known");
        self.state.revision_report(revision).outcome
    }
}

#[test]
fn a_plan_that_did_not_see_its_jobs_end_starts_nothing() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    let basis = world.state.index();
    world.take("r", "c2", &[("a", FileOutcome::Removed)]);
    let alloc = Allocation { id: alloc_id(1), job: "a".into(), ..Allocation::default() };
    let plan = Plan { basis, place: vec![alloc], ..Plan::default() };
    let rejection = world.apply(Command::ApplyPlan(Box::new(plan)));
    assert!(matches!(rejection, Some(Rejection::StalePlan { .. })), "{rejection:?}");
    assert_eq!(world.state.allocs().count(), 0);
}

#[test]
fn an_update_does_not_stop_what_has_come_to_serve_meanwhile() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.place(1, "a", 0, Some(1));
    let update = |world: &World, basis, idle| {
        let stop = vec![StopAlloc { alloc: alloc_id(1), idle, ..StopAlloc::default() }];
        let command = Command::ApplyPlan(Box::new(Plan { basis, stop, ..Plan::default() }));
        world.state.clone().apply(world.state.index() + 1, &command).rejection
    };
    let basis = world.state.index();
    world.report(1, ClientStatus::Running, None);
    assert_eq!(update(&world, basis, true), None, "nobody has found it well yet");
    world.report(1, ClientStatus::Running, Some(true));
    let rejection = update(&world, basis, true);
    assert!(matches!(rejection, Some(Rejection::StalePlan { .. })), "{rejection:?}");
    assert_eq!(update(&world, basis, false), None, "it may stop though it serves");
    assert_eq!(update(&world, world.state.index(), true), None, "the plan knows it");
}

#[test]
fn a_job_that_comes_back_is_a_new_version() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.take("r", "c2", &[("a", FileOutcome::Removed)]);
    assert!(world.stopped("a"));
    world.take("r", "c3", &[("a", file("a", 1))]);
    assert!(!world.stopped("a"));
    assert_eq!(world.versions("a"), [0, 1]);
}

#[test]
fn a_job_that_was_forgotten_leaves_nothing_behind() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.place(1, "a", 0, Some(1));
    world.end(1, DeploymentStatus::Successful, Plan::default());
    world.take("r", "c2", &[("a", FileOutcome::Removed)]);
    world.report(1, ClientStatus::Complete, None);
    let garbage =
        Garbage { allocs: vec![alloc_id(1)], jobs: vec!["a".into()], ..Garbage::default() };
    world.apply(Command::CollectGarbage(garbage));
    assert!(world.state.job(&"a".into()).is_none());
    assert_eq!(world.state.deployments().count(), 0);
    assert_eq!(world.outcome("c1"), RevisionOutcome::Superseded, "it will never be deployed");
    assert_eq!(world.outcome("c2"), RevisionOutcome::Deployed);
}

#[test]
fn what_is_over_stays_over() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.place(1, "a", 0, None);
    world.report(1, ClientStatus::Failed, None);
    world.report(1, ClientStatus::Running, None);
    assert_eq!(world.state.alloc(alloc_id(1)).expect("is known").client, ClientStatus::Failed);
}

#[test]
fn a_success_stays_one_when_its_allocations_go() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.place(1, "a", 0, Some(1));
    world.report(1, ClientStatus::Running, Some(true));
    let healthy = |world: &World| {
        world.state.deployment(deployment_id(1)).expect("is known").groups["g"].healthy
    };
    assert_eq!(healthy(&world), 1);
    world.end(1, DeploymentStatus::Successful, Plan::default());
    world.report(1, ClientStatus::Complete, None);
    assert_eq!(healthy(&world), 1);
}

#[test]
fn a_stopped_allocation_is_no_longer_counted_as_healthy() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.place(1, "a", 0, Some(1));
    world.report(1, ClientStatus::Running, Some(true));
    let stop = StopAlloc { alloc: alloc_id(1), ..StopAlloc::default() };
    world.plan(Plan { stop: vec![stop], ..Plan::default() });
    let deployment = world.state.deployment(deployment_id(1)).expect("is known");
    assert_eq!(deployment.groups["g"].healthy, 0);
}

#[test]
fn a_commit_that_agrees_with_a_rollback_is_deployed() {
    let mut world = World::default();
    world.take("r", "c1", &[("a", file("a", 1))]);
    world.place(1, "a", 0, Some(1));
    let stable = vec![("a".into(), 0)];
    world.end(1, DeploymentStatus::Successful, Plan { stable, ..Plan::default() });
    world.take("r", "c2", &[("a", file("a", 2))]);
    world.place(2, "a", 1, Some(2));
    let reverts = vec![Revert { job: "a".into(), from: 1, to: 0 }];
    world.end(2, DeploymentStatus::Failed, Plan { reverts, ..Plan::default() });
    world.place(3, "a", 2, Some(3));
    assert_eq!(world.outcome("c2"), RevisionOutcome::Reverted);

    world.take("r", "c3", &[("a", file("a", 1))]);
    assert_eq!(world.versions("a"), [0, 1, 2], "it runs already");
    assert_eq!(world.outcome("c3"), RevisionOutcome::Deploying);
    world.end(3, DeploymentStatus::Successful, Plan::default());
    assert_eq!(world.outcome("c3"), RevisionOutcome::Deployed);
    assert_eq!(world.outcome("c2"), RevisionOutcome::Reverted);
    let current = world.state.job(&"a".into()).and_then(|job| job.current()).expect("is known");
    assert_eq!(current.origin.commit.as_str(), "c3");
    world.take("r", "c4", &[("a", file("a", 1))]);
    assert_eq!(world.outcome("c4"), RevisionOutcome::Unchanged, "once is enough");
}

#[test]
fn a_rename_within_a_file_stops_nothing_by_itself() {
    let mut world = World::default();
    world.take("r", "c1", &[("f", file("a", 1))]);
    world.take("r", "c2", &[("f", file("b", 1))]);
    assert!(!world.stopped("a"), "nobody said that it may stop");
    let record = world.state.repo("r").expect("is known");
    assert!(record.files[&renamed_path("f", &"a".into())].removal_held);
    let renamed = renamed_path("f", &"b".into());
    world.take("r", "c3", &[("f", file("c", 1)), (&renamed, FileOutcome::Removed)]);
    assert!(world.stopped("b"));
    let approve =
        Command::ApproveRemovals { repo: "r".into(), jobs: Vec::new(), at: Timestamp::ZERO };
    assert_eq!(world.apply(approve), None);
    assert!(world.stopped("a"));
    assert!(!world.stopped("c"));
}

#[test]
fn jobs_that_trade_files_go_on() {
    let mut world = World::default();
    world.take("r", "c1", &[("f", file("a", 1)), ("g", file("b", 1))]);
    world.take("r", "c2", &[("f", file("b", 1)), ("g", file("a", 1))]);
    assert!(!world.stopped("a") && !world.stopped("b"));
    assert_eq!(world.state.repo("r").expect("is known").files.len(), 2);
}

#[test]
fn a_job_belongs_to_one_repository() {
    let mut world = World::default();
    world.take("one", "c1", &[("f", file("a", 1))]);
    let taken = world.revision("two", "d1", &[("g", file("a", 2))]);
    let rejection = world.apply(Command::TakeRevision(Box::new(taken.clone())));
    let words = rejection.expect("is refused").to_string();
    assert_eq!(words, "job `a` is declared by f of repository `one`");
    assert_eq!(world.versions("a"), [0]);
    // A repository that nobody follows any more cannot keep it.
    let taken = TakeRevision { abandoned: ["one".to_owned()].into(), ..taken };
    assert_eq!(world.apply(Command::TakeRevision(Box::new(taken))), None);
    assert_eq!(world.versions("a"), [0, 1]);
    assert!(world.state.repo("one").expect("is known").files.is_empty());
    world.take("two", "d2", &[("g", FileOutcome::Removed)]);
    assert!(world.stopped("a"));
}

#[test]
fn a_commit_in_parts_is_one_revision() {
    let mut world = World::default();
    world.take("r", "c1", &[("z", file("z", 1))]);
    let part = TakeRevision { partial: true, ..world.revision("r", "c2", &[("a", file("a", 1))]) };
    assert_eq!(world.apply(Command::TakeRevision(Box::new(part))), None);
    assert_eq!(world.state.repo("r").and_then(|r| r.head.clone()), Some("c1".into()));
    world.take("r", "c2", &[("b", file("b", 1)), ("z", FileOutcome::Removed)]);
    assert_eq!(world.state.repo("r").and_then(|r| r.head.clone()), Some("c2".into()));
    assert_eq!(world.state.revisions().count(), 2);
    let revision = world.state.revisions().next().expect("is known");
    let files: BTreeMap<&str, FileChangeKind> =
        revision.files.iter().map(|file| (file.path.as_str(), file.change)).collect();
    assert_eq!(files.len(), 3);
    assert_eq!(revision.parent, Some("c1".into()));
    let jobs: Vec<JobId> = world.state.jobs().map(|job| job.id.clone()).collect();
    assert_eq!(jobs, ["a".into(), "b".into(), "z".into()]);
}

#[test]
fn a_held_file_that_comes_back_as_it_was_undoes_no_rollback() {
    let mut world = World::default();
    world.take("r", "c1", &[("f", file("a", 1))]);
    world.place(1, "a", 0, Some(1));
    let stable = vec![("a".into(), 0)];
    world.end(1, DeploymentStatus::Successful, Plan { stable, ..Plan::default() });
    world.take("r", "c2", &[("f", file("a", 2))]);
    world.place(2, "a", 1, Some(2));
    let reverts = vec![Revert { job: "a".into(), from: 1, to: 0 }];
    world.end(2, DeploymentStatus::Failed, Plan { reverts, ..Plan::default() });
    world.take("r", "c3", &[("f", FileOutcome::RemovalHeld)]);
    world.take("r", "c4", &[("f", file("a", 2))]);
    assert_eq!(world.versions("a"), [0, 1, 2], "the version that failed is not tried again");
    assert!(!world.state.repo("r").expect("is known").files["f"].removal_held);
    world.take("r", "c5", &[("f", file("a", 3))]);
    assert_eq!(world.versions("a"), [0, 1, 2, 3]);
}

/// A file of several jobs.
fn jobs(ids: &[&str], content: u16) -> FileOutcome {
    let blob = format!("{}{content}", ids.join("+")).as_str().into();
    let job = |id: &&str| Arc::new(Job { id: (*id).into(), priority: content, ..Job::default() });
    let submissions = ids.iter().map(|id| JobSubmission { job: job(id) }).collect();
    FileOutcome::declaring(blob, submissions, Vec::new())
}

#[test]
fn a_file_of_several_jobs_gives_each_its_own_life() {
    let mut world = World::default();
    world.take("r", "c1", &[("f", jobs(&["a", "b", "c"], 1))]);
    let revision = world.state.revisions().next().expect("is known");
    let changes: Vec<_> = revision.files.iter().map(|file| (&*file.path, file.change)).collect();
    assert_eq!(changes, [("f", FileChangeKind::Added); 3]);
    // One that is left out is held until somebody says that it may stop.
    world.take("r", "c2", &[("f", jobs(&["a", "b"], 1))]);
    assert!(!world.stopped("c"));
    let held = renamed_path("f", &"c".into());
    assert!(world.state.repo("r").expect("is known").files[&held].removal_held);
    let gone = renamed_path("f", &"b".into());
    world.take("r", "c3", &[("f", jobs(&["a"], 1)), (&gone, FileOutcome::Removed)]);
    assert_eq!((world.stopped("a"), world.stopped("b"), world.stopped("c")), (false, true, false));
    assert_eq!(world.versions("a"), [0], "nothing was said of it");
    world.take("r", "c4", &[("f", jobs(&["a", "c"], 1))]);
    assert_eq!(world.state.repo("r").expect("is known").files.len(), 1, "it came back");
}

#[test]
fn a_broken_file_keeps_all_its_jobs() {
    let mut world = World::default();
    world.take("r", "c1", &[("f", jobs(&["a", "b"], 1))]);
    let problems = vec![model::Diagnostic::file_error("syntax", "f", "bad", "")];
    world.take("r", "c2", &[("f", FileOutcome::Broken { blob: "x".into(), problems })]);
    let file = &world.state.repo("r").expect("is known").files["f"];
    assert_eq!((file.broken, file.jobs.len()), (true, 2));
    assert!(!world.stopped("a") && !world.stopped("b"));
    let revision = world.state.revisions().next().expect("is known");
    let said: Vec<_> = revision.files.iter().map(|file| file.problems.len()).collect();
    assert_eq!(said, [1, 0], "what is said of a file is said once");
}

#[test]
fn jobs_of_one_file_move_stop_and_are_held_one_by_one() {
    let mut world = World::default();
    world.take("r", "c1", &[("f", jobs(&["a", "b", "c"], 1))]);
    let gone = renamed_path("f", &"b".into());
    world.take(
        "r",
        "c2",
        &[("f", FileOutcome::Forgotten), (&gone, FileOutcome::Removed), ("g", jobs(&["a"], 1))],
    );
    assert_eq!((world.stopped("a"), world.stopped("b"), world.stopped("c")), (false, true, false));
    assert_eq!(world.versions("a"), [0], "it only moved");
    world.take("r", "c3", &[("g", jobs(&["a", "d", "e"], 1))]);
    world.take("r", "c4", &[("g", FileOutcome::RemovalHeld)]);
    let approve =
        Command::ApproveRemovals { repo: "r".into(), jobs: vec!["d".into()], at: Timestamp::ZERO };
    assert_eq!(world.apply(approve), None);
    assert_eq!((world.stopped("a"), world.stopped("d"), world.stopped("e")), (false, true, false));
    let held = world.state.repo("r").expect("is known").files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(held, ["f#c", "g#a", "g#e"]);
}

#[test]
fn a_file_is_known_with_what_it_was_read_with() {
    let mut world = World::default();
    let reading = state::FileReading {
        inputs: "x".into(),
        reads: ["lib.hcl".to_owned()].into(),
        ..state::FileReading::default()
    };
    let taken = TakeRevision {
        inputs: "all".into(),
        readings: [("f".to_owned(), reading)].into(),
        ..world.revision("r", "c1", &[("f", file("a", 1)), ("g", file("b", 1))])
    };
    assert_eq!(world.apply(Command::TakeRevision(Box::new(taken))), None);
    let files = &world.state.repo("r").expect("is known").files;
    assert_eq!((files["f"].inputs.as_str(), files["f"].reads.len()), ("x", 1));
    assert_eq!((files["g"].inputs.as_str(), files["g"].reads.len()), ("all", 0));
}

#[test]
fn how_placement_chooses_is_changed_by_who_saw_it_last() {
    let mut world = World::default();
    let set = |if_index, algorithm| Command::SetSchedulerConfig {
        config: SchedulerConfig {
            algorithm,
            preemption: Preemption { batch: true, ..Preemption::default() },
            create_index: 99,
            ..SchedulerConfig::default()
        },
        if_index,
    };
    assert_eq!(world.state.scheduler_config().modify_index, 0, "nobody has set it");
    assert_eq!(world.apply(set(Some(0), PlacementAlgorithm::Spread)), None);
    let first = *world.state.scheduler_config();
    assert_eq!((first.create_index, first.modify_index), (1, 1), "the state counts itself");
    assert_eq!((first.algorithm, first.preemption.batch), (PlacementAlgorithm::Spread, true));

    let late = world.apply(set(Some(0), PlacementAlgorithm::Binpack));
    assert!(matches!(late, Some(Rejection::Conflict(_))), "{late:?}");
    assert_eq!(*world.state.scheduler_config(), first);

    assert_eq!(world.apply(set(None, PlacementAlgorithm::Binpack)), None);
    let second = *world.state.scheduler_config();
    assert_eq!((second.create_index, second.modify_index), (1, 3));
    let kept = State::from_bytes(&world.state.to_bytes().expect("is written")).expect("is read");
    assert_eq!(*kept.scheduler_config(), second);
    assert!(kept.scheduler_index() >= world.state.scheduler_index());
}
