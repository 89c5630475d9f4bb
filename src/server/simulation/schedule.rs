//! What happens in a run, as plain data: made from a seed, printed when it fails, read back to happen again.

use serde::{Deserialize, Serialize};

use model::JobType;

use super::chance::{Chance, draw};
use super::jobs::{JOBS, Mode, Silent, Spec, kind};

/// Something that happens to the cluster. Numbers that name a node, a job or one of many are taken modulo how many there
/// are, so that every schedule makes sense however it was shrunk. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// A commit changes or brings a job.
    Push(u8, Spec),
    /// A commit removes one.
    Remove(u8),
    /// A commit breaks a job's file.
    Break(u8),
    /// The branch is rewritten: its head does not descend from the one before.
    Rewrite,
    /// A node's agent is away for a while. Its tasks run on.
    Restart(u8, u32),
    /// A machine starts anew: its tasks are gone, its agent remembers them.
    Reboot(u8, u32),
    /// A machine is gone for good.
    Die(u8),
    /// Where a machine was, a new one joins, with nothing on it.
    Join(u8),
    /// Nobody reaches a node, whose tasks run on.
    Cut(u8, u32),
    /// A node answers and starts nothing.
    Stick(u8, u32),
    /// One of all tasks fails for good.
    Fail(u8),
    /// One of all tasks ends and is started again where it is.
    Bounce(u8),
    /// A node is emptied, within this time if there is one.
    Drain(u8, Option<u32>, bool),
    Undrain(u8),
    Eligible(u8, bool),
    Promote(u8),
    /// An operator fails a deployment.
    Reject(u8),
    /// An operator stops one of all allocations.
    Stop(u8),
    /// An operator says that nodes that the brake holds are lost.
    Approve,
    /// The leader hands over to another server.
    HandOver,
    /// A server is cut off from all others and from the nodes. One that leads goes on for a while.
    Isolate(u8, u32),
    /// A server is away for a while, and comes back with what it had written down.
    Down(u8, u32),
}

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Schedule {
    /// Delays, lost messages and the like are drawn from it.
    pub(super) seed: u64,
    pub(super) servers: u8,
    pub(super) nodes: u8,
    /// When, and what.
    pub(super) actions: Vec<(u32, Action)>,
}

/// What a run is about. Each has some kinds of trouble and not others, so that a rule is not only ever tried amid all of
/// them.
#[derive(Clone, Copy)]
struct Taste {
    bad_versions: bool,
    nodes: u64,
    servers: u64,
    operators: u64,
    tasks: u64,
}

impl Schedule {
    /// The schedule of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let c = &mut chance;
        let taste = Taste {
            bad_versions: !c.once_in(3),
            nodes: c.pick(&[0, 2, 6, 14]),
            servers: c.pick(&[0, 0, 2, 5]),
            operators: c.pick(&[0, 3, 8]),
            tasks: c.pick(&[0, 2, 5]),
        };
        let mut this = Self {
            seed,
            servers: c.pick(&[1, 3, 3, 5]),
            nodes: c.within(2, 8) as u8,
            actions: Vec::new(),
        };
        let jobs = c.within(1, u64::from(JOBS)) as u8;
        let first = c.within(0, u64::from(JOBS) - 1) as u8;
        let mut at = 500;
        for job in 0..jobs {
            let mut spec = this.spec(c, taste, first + job);
            spec.mode = Mode::Good;
            this.actions.push((at, Action::Push(first + job, spec)));
            at += c.within(0, 300) as u32;
        }
        // Some trouble comes while all is new, some when it has settled.
        at += c.pick(&[0, 4_000, 20_000]);
        let steps = c.within(3, 45);
        let pace = c.pick(&[400, 3_000, 12_000]);
        for _ in 0..steps {
            at += c.within(0, pace) as u32;
            let action = this.action(c, taste, first, jobs);
            this.actions.push((at, action));
        }
        this
    }

    fn action(&self, c: &mut Chance, taste: Taste, first: u8, jobs: u8) -> Action {
        let job = first + c.within(0, u64::from(jobs) - 1) as u8;
        let node = c.within(0, u64::from(self.nodes) - 1) as u8;
        let server = c.within(0, u64::from(self.servers) - 1) as u8;
        let any = c.within(0, 250) as u8;
        let short = c.within(100, 6_000) as u32;
        let long = c.pick(&[3_000, 9_000, 25_000, 70_000]) + short;
        let which = c.weighted(&[
            (10, 0),
            (taste.nodes, 1),
            (taste.servers, 2),
            (taste.operators, 3),
            (taste.tasks, 4),
        ]);
        match which {
            0 => match c.within(0, 9) {
                0 => Action::Remove(job),
                1 if taste.bad_versions => Action::Break(job),
                2 if c.once_in(3) => Action::Rewrite,
                _ => Action::Push(job, self.spec(c, taste, job)),
            },
            1 => match c.within(0, 9) {
                0 | 1 => Action::Restart(node, long),
                2 => Action::Reboot(node, long),
                3 => Action::Die(node),
                4 => Action::Join(node),
                5 => Action::Stick(node, long),
                6 => Action::Cut(node, short),
                _ => Action::Cut(node, long),
            },
            2 => match c.within(0, 4) {
                0 | 1 => Action::HandOver,
                2 | 3 => Action::Isolate(server, long),
                _ => Action::Down(server, long),
            },
            3 => match c.within(0, 11) {
                0 | 1 => Action::Drain(node, None, c.once_in(3)),
                2 | 3 => Action::Drain(node, Some(long), c.once_in(3)),
                4 => Action::Undrain(node),
                5 => Action::Eligible(node, c.once_in(2)),
                6 | 7 => Action::Promote(job),
                8 => Action::Reject(job),
                9 | 10 => Action::Stop(any),
                _ => Action::Approve,
            },
            _ => match c.within(0, 2) {
                0 => Action::Bounce(any),
                _ => Action::Fail(any),
            },
        }
    }

    /// Whether no two of a job may ever run at once. It stays so: where a version gives that up and its rollout is held,
    /// what is started anew of the one before is not kept from running beside the one that is being stopped. That is a
    /// weakness of the evaluator, and this line goes with it.
    pub(super) fn is_alone(&self, job: u8) -> bool {
        let job = job % JOBS;
        kind(job) == JobType::Service && draw(self.seed, &[70, job.into()]).is_multiple_of(3)
    }

    fn spec(&self, c: &mut Chance, taste: Taste, job: u8) -> Spec {
        let mode = if taste.bad_versions {
            c.weighted(&[
                (12, Mode::Good),
                (2, Mode::Crash),
                (2, Mode::Sick),
                (2, Mode::Flap),
                (2, Mode::Fragile),
                (1, Mode::Stuck),
            ])
        } else {
            Mode::Good
        };
        let wait = c.pick(&[8, 20, 60]);
        let how = c.within(0, 3) as u8;
        let silent = c.weighted(&[
            (6, Silent::Lost),
            (3, Silent::Wait(wait, how)),
            (1, Silent::Hold(wait)),
            (1, Silent::Fence(wait)),
        ]);
        let silent = if self.is_alone(job) { Silent::Alone } else { silent };
        let count = if silent == Silent::Alone { 1 } else { c.within(0, 6) as u8 };
        Spec {
            content: c.within(0, 5) as u32,
            mode,
            count,
            second: if silent != Silent::Alone && c.once_in(4) { c.within(1, 3) as u8 } else { 0 },
            size: c.pick(&[1, 1, 5, 12, 19]),
            parallel: c.pick(&[1, 1, 1, 2, 3, 0]),
            canary: c.pick(&[0, 0, 0, 1, 2]),
            auto_promote: c.once_in(2),
            auto_revert: c.once_in(2),
            port: c.once_in(4),
            rack: if c.once_in(5) { Some(c.within(0, 1) as u8) } else { None },
            spread: c.once_in(6),
            priority: c.pick(&[0, 0, 10, 90]),
            silent,
            moves: c.pick(&[1, 1, 2]),
            sticky: c.once_in(6),
            progress: c.pick(&[20, 60, 200]),
            slow: c.once_in(4),
            all_at_once: c.once_in(12),
        }
    }
}
