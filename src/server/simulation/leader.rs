//! The leader's loops: the step functions that the servers run, with a model of the shells around them.

use std::collections::VecDeque;
use std::time::Duration;

use evaluator::{Fleet, evaluate_with};
use model::{EvalTrigger, JobId};
use state::{Applied, Command, Event as Change, Plan};

use super::replication::{From, Sayings};
use super::world::{Check, Event, World, moment};
use crate::dirty::Dirty;
use crate::drainer;
use crate::garbage::{self, Keep};
use crate::heartbeat::{HeartbeatOptions, Heartbeats};
use crate::reconciler::{Jobs, first, in_parts};

/// How often it is looked for nodes that fell silent.
const TICK: u64 = 200;
const COLLECT: u64 = 30_000;
/// The wait after a command that could not be committed.
const RETRY: u64 = 200;

/// What a leader knows beside its state.
pub(super) struct Lead {
    pub(super) term: u64,
    began: u64,
    pub(super) beats: Heartbeats,
    dirty: Dirty,
    /// What its passes have learned of the nodes.
    fleet: Fleet,
    /// Jobs of the pass whose plan is on its way, and the parts of it that are to follow.
    jobs: Option<Jobs>,
    parts: VecDeque<Plan>,
    rejected: u32,
    rest_until: u64,
    /// When the next pass is due.
    pass_at: Option<u64>,
    drains: Sayings,
    draining: bool,
    drain_at: Option<u64>,
    saying: bool,
    pub(super) reading: bool,
}

impl World<'_> {
    /// A server comes to lead: its loops begin from its state.
    pub(super) fn begin(&mut self, at: usize, term: u64) {
        let state = &self.servers[at].state;
        let mut options = HeartbeatOptions::default();
        if let Some(spoil) = self.spoil {
            spoil.brake(&mut options);
        }
        let clock = self.spoil.map_or_else(|| self.clock(), |spoil| spoil.remembers(self.clock()));
        let beats = Heartbeats::begin(options, None, state, Duration::ZERO, clock);
        let lead = Lead {
            term,
            began: self.now,
            beats,
            dirty: Dirty::all(state),
            fleet: Fleet::default(),
            jobs: None,
            parts: VecDeque::new(),
            rejected: 0,
            rest_until: 0,
            pass_at: None,
            drains: VecDeque::new(),
            draining: false,
            drain_at: None,
            saying: false,
            reading: false,
        };
        self.servers[at].lead = Some(lead);
        self.after(TICK, Event::Tick(at, term));
        self.after(COLLECT, Event::Collect(at, term));
        self.after(20 + self.draw(300, &[20]), Event::Poll(at, term));
        self.wake_pass(at);
        self.wake_drain(at, self.now);
    }

    /// What was applied is news to the loops of a server that leads.
    pub(super) fn note(&mut self, at: usize, applied: &Applied) {
        let server = &mut self.servers[at];
        let Some(lead) = server.lead.as_mut() else { return };
        let is_deaf = self.spoil.is_some_and(|spoil| spoil.overhears(applied.index));
        if !is_deaf {
            lead.dirty.note(&server.state, &applied.events);
        }
        for event in &applied.events {
            if let Change::Node(id) = event {
                lead.beats.changed(&server.state, *id);
            }
        }
        self.wake_pass(at);
        self.wake_drain(at, self.now);
    }

    fn lead(&mut self, at: usize, term: u64) -> Option<&mut Lead> {
        self.servers[at].lead.as_mut().filter(|lead| lead.term == term)
    }

    fn wake_pass(&mut self, at: usize) {
        let wait = self.draw(4, &[21]);
        let now = self.now;
        let Some(lead) = self.servers[at].lead.as_mut() else { return };
        if lead.jobs.is_some() {
            return;
        }
        let due = if lead.dirty.is_due() {
            Some(now + wait)
        } else {
            lead.dirty.next().map(|next| moment(next).max(now))
        };
        let Some(due) = due.map(|due| due.max(lead.rest_until)) else { return };
        if lead.pass_at.is_none_or(|known| known > due) {
            lead.pass_at = Some(due);
            let term = lead.term;
            self.at(due, Event::Pass(at, term));
        }
    }

    /// One pass of the evaluator.
    pub(super) fn pass(&mut self, at: usize, term: u64) -> Check {
        let (now, clock) = (self.now, self.clock());
        let Some(lead) = self.lead(at, term) else { return Ok(()) };
        if lead.pass_at.is_some_and(|due| due > now) {
            return Ok(());
        }
        lead.pass_at = None;
        if lead.jobs.is_some() {
            return Ok(());
        }
        let taken = lead.dirty.take(clock);
        // Some passes are small, so that jobs wait for each other.
        let limit = if self.draw(8, &[22]) == 0 { 2 } else { 1_000 };
        let state = self.servers[at].state.clone();
        let (jobs, rest) = first(&state, taken, limit);
        let Some(lead) = self.lead(at, term) else { return Ok(()) };
        lead.dirty.put_back(rest);
        if jobs.is_empty() {
            self.wake_pass(at);
            return Ok(());
        }
        let mut plan = evaluate_with(&mut lead.fleet, &state, &jobs, clock);
        if let Some(spoil) = self.spoil {
            spoil.plan(&state, &mut plan);
        }
        let is_thorough = self.draw(4, &[23]) == 0 && self.spoil.is_none();
        self.watch.planned(&state, &jobs, &plan, clock, is_thorough)?;
        let Some(lead) = self.lead(at, term) else { return Ok(()) };
        lead.dirty.schedule(&jobs, &plan);
        if plan.is_empty() {
            self.wake_pass(at);
            return Ok(());
        }
        lead.jobs = Some(jobs);
        let most = if self.draw(6, &[24]) == 0 { 2 } else { 2_000 };
        let parts: VecDeque<Plan> = in_parts(plan, most).into();
        let basis = state.index();
        let Some(lead) = self.lead(at, term) else { return Ok(()) };
        lead.parts = parts;
        self.next_part(at, term, basis);
        Ok(())
    }

    /// Proposes the next part of a plan, made from what the part before led to. `false` if there is none.
    fn next_part(&mut self, at: usize, term: u64, basis: u64) -> bool {
        let spoil = self.spoil;
        let Some(lead) = self.lead(at, term) else { return false };
        let Some(mut part) = lead.parts.pop_front() else { return false };
        part.basis = spoil.map_or(basis, |spoil| spoil.basis(basis));
        self.propose(at, Command::ApplyPlan(Box::new(part)), From::Plan);
        true
    }

    pub(super) fn heed(
        &mut self,
        at: usize,
        term: u64,
        from: From,
        applied: Option<Applied>,
    ) -> Check {
        match from {
            From::Plan => self.plan_heeded(at, term, applied),
            From::Drain => {
                let is_done = applied.is_some();
                self.drained(at, term, is_done);
            }
            From::Say => {
                let Some(lead) = self.lead(at, term) else { return Ok(()) };
                lead.saying = false;
                if let Some(applied) = applied {
                    lead.beats.answered(&applied);
                }
                self.say(at, term);
            }
            From::Intake => {
                let Some(lead) = self.lead(at, term) else { return Ok(()) };
                lead.reading = false;
                let again = applied.is_none_or(|applied| applied.rejection.is_some());
                self.after(if again { 5_000 } else { 1 }, Event::Poll(at, term));
            }
            From::Report(..) | From::Register(..) | From::Nobody => {}
        }
        Ok(())
    }

    fn plan_heeded(&mut self, at: usize, term: u64, applied: Option<Applied>) {
        let rejected = applied.as_ref().is_none_or(|applied| applied.rejection.is_some());
        if let Some(applied) = applied.as_ref().filter(|_| !rejected)
            && self.next_part(at, term, applied.index)
        {
            return;
        }
        let now = self.now;
        let Some(lead) = self.lead(at, term) else { return };
        lead.parts.clear();
        let jobs = lead.jobs.take().unwrap_or_default();
        if rejected {
            lead.dirty.put_back(jobs);
            lead.rejected += 1;
            if applied.is_none() || lead.rejected > 1 {
                lead.rest_until = now + RETRY;
            }
        } else {
            lead.rejected = 0;
        }
        self.wake_pass(at);
    }

    /// Looks for nodes that fell silent or are back.
    pub(super) fn tick(&mut self, at: usize, term: u64) {
        let clock = self.clock();
        let now = self.now;
        // Now and then the leader is held up.
        let wait = if self.trouble(150, &[25]) { 4_000 } else { TICK };
        let server = &mut self.servers[at];
        let Some(lead) = server.lead.as_mut().filter(|lead| lead.term == term) else { return };
        if !lead.saying {
            let since = Duration::from_millis(now - lead.began);
            lead.beats.tick(&server.state, since, clock);
        }
        self.say(at, term);
        self.after(wait, Event::Tick(at, term));
    }

    fn say(&mut self, at: usize, term: u64) {
        let spoil = self.spoil;
        let Some(lead) = self.lead(at, term) else { return };
        if lead.saying {
            return;
        }
        if let Some(mut command) = lead.beats.word() {
            if let Some(spoil) = spoil {
                spoil.word(&mut command);
            }
            lead.saying = true;
            self.propose(at, command, From::Say);
        }
    }

    /// A node is heard of.
    pub(super) fn heard(&mut self, at: usize, node: model::NodeId) {
        let now = self.now;
        if let Some(lead) = self.servers[at].lead.as_mut() {
            lead.beats.heard(node, Duration::from_millis(now - lead.began));
        }
    }

    fn wake_drain(&mut self, at: usize, due: u64) {
        let server = &mut self.servers[at];
        if server.state.draining_nodes().next().is_none() {
            return;
        }
        let Some(lead) = server.lead.as_mut() else { return };
        if !lead.draining && lead.drain_at.is_none_or(|known| known > due) {
            lead.drain_at = Some(due);
            let term = lead.term;
            self.at(due + 1, Event::Drain(at, term));
        }
    }

    pub(super) fn drain(&mut self, at: usize, term: u64) {
        let clock = self.clock();
        let server = &mut self.servers[at];
        let Some(lead) = server.lead.as_mut().filter(|lead| lead.term == term) else { return };
        lead.drain_at = None;
        if lead.draining {
            return;
        }
        let step = drainer::step(&server.state, clock);
        let wake = step.wake.map(moment);
        lead.drains = step.commands.into();
        if let Some(command) = lead.drains.pop_front() {
            lead.draining = true;
            self.propose(at, command, From::Drain);
        } else if let Some(wake) = wake {
            self.wake_drain(at, wake);
        }
    }

    fn drained(&mut self, at: usize, term: u64, is_done: bool) {
        let now = self.now;
        let Some(lead) = self.lead(at, term) else { return };
        let next = if is_done { lead.drains.pop_front() } else { None };
        match next {
            Some(command) => self.propose(at, command, From::Drain),
            None => {
                lead.draining = false;
                lead.drains.clear();
                self.wake_drain(at, if is_done { now } else { now + RETRY });
            }
        }
    }

    /// Old records go, much sooner than they do on a real server.
    pub(super) fn collect(&mut self, at: usize, term: u64) {
        let clock = self.clock();
        let keep = Keep {
            allocs: Duration::from_secs(60),
            evaluations: Duration::from_secs(40),
            deployments_per_job: 2,
            allocs_per_job: 1,
            children_per_job: 2,
            most_children_per_job: 100,
        };
        let state = &self.servers[at].state;
        if self.servers[at].lead.as_ref().is_none_or(|lead| lead.term != term) {
            return;
        }
        let garbage = garbage::collect(state, keep, clock);
        if !garbage::is_empty(&garbage) {
            self.propose(at, Command::CollectGarbage(garbage), From::Nobody);
        }
        self.after(COLLECT, Event::Collect(at, term));
    }
}

/// All jobs, to be looked at for no reason.
pub(super) fn everything(state: &state::State) -> Jobs {
    let ids: Vec<JobId> = state.jobs().map(|record| record.id.clone()).collect();
    ids.into_iter().map(|id| (id, EvalTrigger::JobRegister)).collect()
}
