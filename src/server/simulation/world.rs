//! Virtual time: what is to happen next, and the parts of the cluster that it happens to.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{AllocId, Timestamp};
use state::Command;

use super::calm::Calm;
use super::chance::{Trace, draw};
use super::machine::Machine;
use super::operator::Branch;
use super::replication::{Log, Server};
use super::schedule::Schedule;
use super::spoil::Spoil;
use super::watch::Watch;

/// A run of a schedule must be over by then, whatever is in it.
const MOST_EVENTS: u64 = 3_000_000;

/// What must never happen, and did: `S9: …`.
pub(super) type Check<T = ()> = Result<T, String>;

/// Something that is due. `u64` after a server is a term, after a machine one of its lives; what is due of an older one
/// happens to nobody, but for what comes late.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Act(usize),
    Commit(u64),
    Apply(usize),
    Elect,
    StepDown(usize, u64),
    Heal(usize),
    Up(usize),
    Late(Box<Command>, u64),
    Pass(usize, u64),
    Tick(usize, u64),
    Drain(usize, u64),
    Collect(usize, u64),
    Poll(usize, u64),
    Beat(usize, u64),
    Register(usize, u64),
    Orders(usize),
    Flush(usize),
    Task(usize, AllocId),
    Boot(usize),
    Mend(usize),
    Calm,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// What must never happen and did.
    pub(super) failure: Option<String>,
    /// When the run ended, in virtual milliseconds.
    pub(super) ended: u64,
    pub(super) entries: u64,
    pub(super) placed: u64,
    pub(super) trace: Trace,
}

impl Outcome {
    /// The rule that was broken, without what broke it.
    pub(super) fn rule(&self) -> Option<&str> {
        self.failure.as_deref().map(|words| words.split(':').next().unwrap_or_default())
    }
}

pub(super) struct World<'s> {
    pub(super) schedule: &'s Schedule,
    /// Milliseconds since the beginning.
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(super) log: Log,
    pub(super) servers: Vec<Server>,
    pub(super) machines: Vec<Machine>,
    pub(super) branch: Branch,
    pub(super) watch: Watch,
    pub(super) calm: Calm,
    /// What the harness breaks on purpose.
    pub(super) spoil: Option<Spoil>,
    pub(super) trace: Trace,
    /// Whether entries are printed.
    pub(super) is_told: bool,
    /// Whether faults are over.
    pub(super) is_calm: bool,
}

/// Runs a schedule to its end.
pub(super) fn run(schedule: &Schedule, spoil: Option<Spoil>) -> Outcome {
    let mut world = World::new(schedule, spoil);
    let failure = world.live().err();
    Outcome {
        failure,
        ended: world.now,
        entries: world.log.entries.len() as u64,
        placed: world.watch.placed(),
        trace: world.trace,
    }
}

impl<'s> World<'s> {
    fn new(schedule: &'s Schedule, spoil: Option<Spoil>) -> Self {
        let machines = (0..usize::from(schedule.nodes.max(1))).map(|at| Machine::new(at, 0));
        let mut world = Self {
            schedule,
            now: 0,
            queue: BTreeMap::new(),
            serial: 0,
            log: Log::default(),
            servers: (0..schedule.servers.max(1)).map(|_| Server::default()).collect(),
            machines: machines.collect(),
            branch: Branch::default(),
            watch: Watch::default(),
            calm: Calm::default(),
            spoil,
            trace: Trace::default(),
            is_told: std::env::var_os("HERDER_SIMULATION_TELL").is_some(),
            is_calm: false,
        };
        world.after(0, Event::Elect);
        for at in 0..world.machines.len() {
            world.after(at as u64 * 7, Event::Boot(at));
        }
        let mut last = 0;
        for (n, (at, _)) in schedule.actions.iter().enumerate() {
            world.at(u64::from(*at), Event::Act(n));
            last = last.max(u64::from(*at));
        }
        world.at(last + 5_000, Event::Calm);
        world
    }

    fn live(&mut self) -> Check {
        let mut events = 0;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            events += 1;
            if events > MOST_EVENTS {
                return Err(format!("L1: no end after {events} events"));
            }
            if matches!(event, Event::Calm) {
                if self.calm()? {
                    return self.end();
                }
                continue;
            }
            self.happen(event)?;
        }
        Err("L1: nothing is to happen any more".to_owned())
    }

    fn happen(&mut self, event: Event) -> Check {
        match event {
            Event::Act(n) => match self.schedule.actions.get(n) {
                Some((_, action)) => self.act(&action.clone()),
                None => Ok(()),
            },
            Event::Commit(id) => self.commit_due(id),
            Event::Apply(server) => self.catch_up(server),
            Event::Elect => self.elect(),
            Event::StepDown(server, term) => self.step_down(server, term),
            Event::Heal(server) => self.heal(server),
            Event::Up(server) => self.up(server),
            Event::Late(command, term) => {
                self.late(*command, term);
                Ok(())
            }
            Event::Pass(server, term) => self.pass(server, term),
            Event::Tick(server, term) => {
                self.tick(server, term);
                Ok(())
            }
            Event::Drain(server, term) => {
                self.drain(server, term);
                Ok(())
            }
            Event::Collect(server, term) => {
                self.collect(server, term);
                Ok(())
            }
            Event::Poll(server, term) => {
                self.poll(server, term);
                Ok(())
            }
            Event::Beat(machine, life) => self.beat(machine, life),
            Event::Register(machine, life) => {
                self.register(machine, life);
                Ok(())
            }
            Event::Orders(machine) => self.orders(machine),
            Event::Flush(machine) => {
                self.flush(machine);
                Ok(())
            }
            Event::Task(machine, alloc) => self.step_task(machine, alloc),
            Event::Boot(machine) => self.boot(machine),
            Event::Mend(machine) => self.mend(machine),
            Event::Calm => Ok(()),
        }
    }

    /// Has something happen that many milliseconds from now; of what happens at once, the first asked for comes first.
    pub(super) fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((at.max(self.now), self.serial), event);
    }

    /// A number below `n`, for this moment and these words.
    pub(super) fn draw(&self, n: u64, words: &[u64]) -> u64 {
        let here = draw(self.schedule.seed, words);
        draw(here, &[self.now]) % n.max(1)
    }

    /// The same once faults are over; zero then.
    pub(super) fn trouble(&self, n: u64, words: &[u64]) -> bool {
        !self.is_calm && self.draw(n, words) == 0
    }

    pub(super) fn clock(&self) -> Timestamp {
        stamp(self.now)
    }
}

/// A moment of a run as the log has it.
pub(super) fn stamp(now: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000) + Duration::from_millis(now)
}

/// The moment of a run.
pub(super) fn moment(at: Timestamp) -> u64 {
    u64::try_from(at.since(stamp(0)).as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
