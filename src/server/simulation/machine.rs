//! A machine and its agent: it speaks up, says what becomes of what it runs, is away, is cut off, dies.

use std::collections::BTreeMap;

use model::{
    AllocId, AllocReport, DriverInfo, Node, NodeId, NodeResources, NodeStatus, seeded_uuid,
};
use state::Command;

use super::replication::From;
use super::task::{Phase, Task};
use super::world::{Check, Event, World};

/// How often an agent says that it lives.
const BEAT: u64 = 500;

/// A machine and its agent.
#[derive(Debug)]
pub(super) struct Machine {
    place: usize,
    incarnation: u32,
    pub(super) id: NodeId,
    /// Whether the agent runs.
    pub(super) up: bool,
    /// Gone for good.
    pub(super) dead: bool,
    pub(super) cut: bool,
    stuck: bool,
    cut_until: u64,
    stuck_until: u64,
    away_until: u64,
    /// Whether what it ran was ended while it was away.
    rebooted: bool,
    /// Counts the agent's starts; what is due of an older one is void.
    life: u64,
    is_registered: bool,
    /// The newest state that it was told of.
    pub(super) seen: u64,
    /// When it last heard of a server.
    contact: u64,
    pub(super) tasks: BTreeMap<AllocId, Task>,
    outbox: BTreeMap<AllocId, AllocReport>,
    sending: Option<BTreeMap<AllocId, AllocReport>>,
}

impl Machine {
    pub(super) fn new(place: usize, incarnation: u32) -> Self {
        let words = [(place as u64).to_be_bytes(), u64::from(incarnation).to_be_bytes()];
        Self {
            place,
            incarnation,
            id: NodeId::new(seeded_uuid(&[b"machine", &words[0], &words[1]])),
            up: false,
            dead: false,
            cut: false,
            stuck: false,
            cut_until: 0,
            stuck_until: 0,
            away_until: 0,
            rebooted: false,
            life: 0,
            is_registered: false,
            seen: 0,
            contact: 0,
            tasks: BTreeMap::new(),
            outbox: BTreeMap::new(),
            sending: None,
        }
    }

    fn node(&self) -> Node {
        let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
        Node {
            id: self.id,
            name: format!("n{}-{}", self.place, self.incarnation),
            datacenter: "dc1".into(),
            pool: "default".into(),
            address: format!("10.0.0.{}", self.place + 1),
            meta: [("rack".to_owned(), (self.place % 2).to_string())].into(),
            drivers: [("raw_exec".to_owned(), driver)].into(),
            resources: NodeResources {
                cpu: 4_000,
                memory_mb: 4_000,
                disk_mb: 10_000,
                min_dynamic_port: 20_000,
                max_dynamic_port: 20_040,
                ..NodeResources::default()
            },
            status: NodeStatus::Ready,
            ..Node::default()
        }
    }

    /// Whether servers and it can speak.
    pub(super) fn is_reachable(&self) -> bool {
        self.up && !self.cut && !self.dead
    }
}

impl World<'_> {
    /// An agent starts, on a machine that was there before or is new.
    pub(super) fn boot(&mut self, at: usize) -> Check {
        let now = self.now;
        let is_calm = self.is_calm;
        let starts = now + 500 + self.draw(2_000, &[40, at as u64]);
        let is_mended = self.draw(2, &[41, at as u64]) == 0;
        let machine = &mut self.machines[at];
        if machine.dead || machine.up || (machine.away_until > now && !is_calm) {
            return Ok(());
        }
        machine.up = true;
        machine.life += 1;
        machine.is_registered = false;
        machine.contact = now;
        machine.sending = None;
        let life = machine.life;
        if std::mem::take(&mut machine.rebooted) {
            for task in machine.tasks.values_mut().filter(|task| task.phase != Phase::Over) {
                if task.is_unwanted {
                    task.stop(now);
                } else if is_mended {
                    task.bounce(now, starts);
                } else {
                    // It counts as one that ended badly.
                    task.phase = Phase::Running;
                    task.fail(now);
                }
            }
        }
        self.after(1, Event::Register(at, life));
        self.after(self.draw(BEAT, &[42, at as u64]), Event::Beat(at, life));
        let tasks: Vec<AllocId> = self.machines[at].tasks.keys().copied().collect();
        for task in tasks {
            self.tend(at, task)?;
        }
        Ok(())
    }

    pub(super) fn register(&mut self, at: usize, life: u64) {
        let machine = &self.machines[at];
        if machine.life != life || !machine.up || machine.is_registered {
            return;
        }
        let (is_reachable, node) = (machine.is_reachable(), machine.node());
        match self.reachable_leader() {
            Some(leader) if is_reachable => {
                let command = Command::RegisterNode { node: Box::new(node), at: self.clock() };
                self.propose(leader, command, From::Register(at, life));
            }
            _ => self.after(400, Event::Register(at, life)),
        }
    }

    pub(super) fn registered(&mut self, at: usize, life: u64, is_done: bool) {
        let machine = &mut self.machines[at];
        if machine.life != life || !machine.up {
            return;
        }
        if is_done {
            machine.is_registered = true;
            self.after(5, Event::Orders(at));
            self.after(5, Event::Flush(at));
        } else {
            self.after(400, Event::Register(at, life));
        }
    }

    /// It says that it lives, and finds out whether somebody hears it.
    pub(super) fn beat(&mut self, at: usize, life: u64) -> Check {
        let now = self.now;
        let machine = &self.machines[at];
        if machine.life != life || !machine.up || machine.dead {
            return Ok(());
        }
        let (is_reachable, id) = (machine.is_reachable(), machine.id);
        let is_lost = self.trouble(25, &[43, at as u64]);
        if let Some(leader) = self.reachable_leader().filter(|_| is_reachable && !is_lost) {
            self.heard(leader, id);
            self.machines[at].contact = now;
        }
        let machine = &self.machines[at];
        let silence = now - machine.contact;
        let fenced: Vec<AllocId> = machine
            .tasks
            .values()
            .filter(|task| task.fence.is_some_and(|bears| silence >= bears))
            .map(|task| task.alloc)
            .collect();
        for alloc in fenced {
            if let Some(task) = self.machines[at].tasks.get_mut(&alloc) {
                task.cut_off(now);
            }
            self.tend(at, alloc)?;
        }
        self.after(BEAT, Event::Beat(at, life));
        Ok(())
    }

    /// After something may have changed about a task: what is to be said of it, and when to look again.
    pub(super) fn tend(&mut self, at: usize, alloc: AllocId) -> Check {
        let now = self.now;
        let machine = &mut self.machines[at];
        let Some(task) = machine.tasks.get_mut(&alloc) else { return Ok(()) };
        if machine.up {
            task.step(now, machine.stuck, self.schedule.seed);
            let report = task.report();
            if task.said.as_ref() != Some(&report) {
                task.said = Some(report.clone());
                machine.outbox.insert(alloc, report);
                let wait = 20 + self.draw(200, &[44, at as u64]);
                self.after(wait, Event::Flush(at));
            }
        } else {
            // Nobody looks after it, but it ends when it ends.
            task.step(now, true, self.schedule.seed);
        }
        if let Some(due) = self.machines[at].tasks.get(&alloc).and_then(Task::due) {
            self.at(due.max(now + 1), Event::Task(at, alloc));
        }
        self.watch.alone(&self.machines)
    }

    pub(super) fn step_task(&mut self, at: usize, alloc: AllocId) -> Check {
        let now = self.now;
        let task = self.machines[at].tasks.get(&alloc);
        // An older look at it is overtaken.
        if task.and_then(Task::due).is_none_or(|due| due > now) {
            return Ok(());
        }
        self.tend(at, alloc)
    }

    /// It says what became of what it runs, all that is new at once.
    pub(super) fn flush(&mut self, at: usize) {
        let machine = &self.machines[at];
        if !machine.up || machine.dead || machine.sending.is_some() || machine.outbox.is_empty() {
            return;
        }
        let (is_ready, life) = (machine.is_reachable() && machine.is_registered, machine.life);
        let Some(leader) = self.reachable_leader().filter(|_| is_ready) else {
            self.after(400, Event::Flush(at));
            return;
        };
        let machine = &mut self.machines[at];
        let batch = std::mem::take(&mut machine.outbox);
        machine.sending = Some(batch.clone());
        let command =
            Command::UpdateAllocs { updates: batch.into_values().collect(), at: self.clock() };
        if self.trouble(16, &[45, at as u64]) {
            self.propose(leader, command.clone(), From::Nobody);
        }
        self.propose(leader, command, From::Report(at, life));
    }

    pub(super) fn reported(&mut self, at: usize, life: u64, is_done: bool) {
        // The answer may get lost; then it is said again.
        let is_heard = is_done && !self.trouble(24, &[46, at as u64]);
        let machine = &mut self.machines[at];
        if machine.life != life {
            return;
        }
        let Some(sent) = machine.sending.take() else { return };
        if !is_heard {
            for (alloc, report) in sent {
                machine.outbox.entry(alloc).or_insert(report);
            }
        }
        self.after(if is_heard { 1 } else { 200 }, Event::Flush(at));
    }

    /// The agent is away, and with `rebooted` the machine too.
    pub(super) fn leave(&mut self, at: usize, span: u64, rebooted: bool) {
        let now = self.now;
        let machine = &mut self.machines[at];
        if machine.dead {
            return;
        }
        machine.up = false;
        machine.away_until = machine.away_until.max(now + span);
        if rebooted {
            machine.rebooted = true;
            for task in machine.tasks.values_mut().filter(|task| task.phase != Phase::Over) {
                task.phase = Phase::Waiting(u64::MAX);
            }
        }
        // What it was about to say, it finds out again.
        if let Some(sent) = machine.sending.take() {
            for (alloc, report) in sent {
                machine.outbox.entry(alloc).or_insert(report);
            }
        }
        self.after(span, Event::Boot(at));
    }

    pub(super) fn die(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.dead = true;
        machine.up = false;
        machine.tasks.clear();
        machine.outbox.clear();
        machine.sending = None;
    }

    /// A new machine takes the place of one, with nothing on it.
    pub(super) fn join(&mut self, at: usize) {
        self.die(at);
        let machine = &self.machines[at];
        let mut new = Machine::new(machine.place, machine.incarnation + 1);
        new.life = machine.life + 1;
        let old = std::mem::replace(&mut self.machines[at], new);
        self.machines.push(old);
        self.after(700, Event::Boot(at));
    }

    pub(super) fn cut(&mut self, at: usize, span: u64) {
        let machine = &mut self.machines[at];
        machine.cut = true;
        machine.cut_until = machine.cut_until.max(self.now + span);
        self.after(span, Event::Mend(at));
    }

    pub(super) fn stick(&mut self, at: usize, span: u64) {
        let machine = &mut self.machines[at];
        machine.stuck = true;
        machine.stuck_until = machine.stuck_until.max(self.now + span);
        self.after(span, Event::Mend(at));
    }

    pub(super) fn mend(&mut self, at: usize) -> Check {
        let (now, is_calm) = (self.now, self.is_calm);
        let machine = &mut self.machines[at];
        if machine.cut && (is_calm || machine.cut_until <= now) {
            machine.cut = false;
            self.after(10, Event::Orders(at));
            self.after(10, Event::Flush(at));
        }
        let machine = &mut self.machines[at];
        if machine.stuck && (is_calm || machine.stuck_until <= now) {
            machine.stuck = false;
        }
        Ok(())
    }
}
