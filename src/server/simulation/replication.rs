//! The servers and their log: what a leader proposes is committed in order, lost with its leader, or comes late; each
//! server applies what is committed in its own time.

use std::collections::{BTreeMap, VecDeque};

use state::{Applied, Command, Event as Change, State};

use super::leader::Lead;
use super::watch::shown;
use super::world::{Check, Event, World};

/// Who waits to learn what became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Plan,
    Drain,
    Say,
    Intake,
    /// A machine, in one of its lives.
    Report(usize, u64),
    Register(usize, u64),
    Nobody,
}

/// A command on its way into the log.
#[derive(Debug)]
pub(super) struct Proposal {
    server: usize,
    term: u64,
    at: u64,
    command: Command,
    from: From,
    /// The term in which it was decided on: an older one than its own for what comes late.
    of: u64,
}

/// What is committed, and what may be.
#[derive(Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Command>,
    /// What the entries lead to.
    pub(super) state: State,
    pub(super) leader: Option<(usize, u64)>,
    /// Who led last, while nobody does.
    before: Option<(usize, u64)>,
    pub(super) term: u64,
    pending: BTreeMap<u64, Proposal>,
    serial: u64,
    /// When the last entry on its way is committed: they keep their order.
    last: u64,
}

/// One server.
pub(super) struct Server {
    pub(super) up: bool,
    pub(super) isolated: bool,
    isolated_at: u64,
    pub(super) isolated_until: u64,
    down_until: u64,
    pub(super) state: State,
    pub(super) lead: Option<Lead>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            up: true,
            isolated: false,
            isolated_at: 0,
            isolated_until: 0,
            down_until: 0,
            state: State::default(),
            lead: None,
        }
    }
}

impl World<'_> {
    /// The server that nodes and people reach as the leader.
    pub(super) fn reachable_leader(&self) -> Option<usize> {
        let (server, term) = self.log.leader?;
        let there = self.servers.get(server).filter(|server| server.up && !server.isolated)?;
        there.lead.as_ref().filter(|lead| lead.term == term).map(|_| server)
    }

    fn is_majority(&self, servers: usize) -> bool {
        servers * 2 > self.servers.len()
    }

    fn connected(&self) -> Vec<usize> {
        let all = self.servers.iter().enumerate();
        all.filter(|(_, server)| server.up && !server.isolated).map(|(at, _)| at).collect()
    }

    /// Whether what this server proposes can be committed now.
    fn can_commit(&self, server: usize) -> bool {
        let Some(there) = self.servers.get(server).filter(|server| server.up) else { return false };
        self.is_majority(if there.isolated { 1 } else { self.connected().len() })
    }

    /// A server that leads, or believes to, puts a command on its way.
    pub(super) fn propose(&mut self, server: usize, command: Command, from: From) {
        self.propose_of(server, command, from, None);
    }

    fn propose_of(&mut self, server: usize, command: Command, from: From, of: Option<u64>) {
        let Some(lead) = self.servers[server].lead.as_ref() else { return };
        let term = lead.term;
        self.log.serial += 1;
        let id = self.log.serial;
        let of = of.unwrap_or(term);
        let proposal = Proposal { server, term, at: self.now, command, from, of };
        self.log.pending.insert(id, proposal);
        let slow = if self.trouble(40, &[1, id]) { 700 } else { 25 };
        let wait = 2 + self.draw(slow, &[2, id]);
        self.log.last = self.log.last.max(self.now + wait);
        self.at(self.log.last, Event::Commit(id));
    }

    pub(super) fn commit_due(&mut self, id: u64) -> Check {
        let Some(proposal) = self.log.pending.get(&id) else { return Ok(()) };
        if self.log.leader != Some((proposal.server, proposal.term))
            || !self.can_commit(proposal.server)
        {
            return Ok(());
        }
        // What was proposed before and could not be committed goes first.
        let (server, term) = (proposal.server, proposal.term);
        let own = |(_, other): &(&u64, &Proposal)| (other.server, other.term) == (server, term);
        let ids = self.log.pending.range(..=id).filter(own).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            self.commit(id, true)?;
        }
        Ok(())
    }

    /// A proposal becomes the next entry. Whoever made it may not learn of that.
    fn commit(&mut self, id: u64, is_told: bool) -> Check {
        let Some(Proposal { server, term, command, from, of, .. }) = self.log.pending.remove(&id)
        else {
            return Ok(());
        };
        let before = self.log.state.clone();
        let index = self.log.entries.len() as u64 + 1;
        self.trace.add(&self.now.to_le_bytes());
        self.trace.add(&command.to_bytes().map_err(|error| format!("S7: {error}"))?);
        let mut applied = self.log.state.apply(index, &command);
        if self.is_told {
            self.tell(index, &command, &applied);
        }
        self.watch.applied(&before, &self.log.state, &command, &applied, of)?;
        self.log.entries.push(command);
        self.spread(&applied);
        for at in 0..self.servers.len() {
            if is_told && at == server {
                self.catch_up(at)?;
            } else {
                let slow = if self.trouble(30, &[3, index, at as u64]) { 3_000 } else { 60 };
                self.after(1 + self.draw(slow, &[4, index, at as u64]), Event::Apply(at));
            }
        }
        if index.is_multiple_of(256) {
            self.compare()?;
        }
        let events = std::mem::take(&mut applied.events);
        drop(events);
        self.answer(server, term, from, is_told.then_some(applied))
    }

    /// Says what an entry was about, for whoever looks into a failure.
    fn tell(&self, index: u64, command: &Command, applied: &Applied) {
        let words = match command {
            Command::ApplyPlan(plan) => {
                let one = |id: &model::AllocId| {
                    self.log.state.alloc(*id).map_or_else(|| id.to_string(), |alloc| shown(alloc))
                };
                let placed: Vec<String> = plan.place.iter().map(|alloc| one(&alloc.id)).collect();
                let stopped: Vec<String> = plan.stop.iter().map(|stop| one(&stop.alloc)).collect();
                let updated: Vec<String> =
                    plan.update.iter().map(|update| one(&update.alloc)).collect();
                format!(
                    "plan of {}: place {placed:#?} stop {stopped:#?} update {updated:#?} unknown {:?} back {:?} \
                     deployments {:?} {:?} reverts {:?}",
                    plan.basis,
                    plan.disconnect,
                    plan.reconnect,
                    plan.deployments.iter().map(|deployment| &deployment.job).collect::<Vec<_>>(),
                    plan.deployment_changes,
                    plan.reverts,
                )
            }
            Command::UpdateAllocs { updates, .. } => updates
                .iter()
                .map(|update| {
                    let health = update.health.as_ref().map(|health| health.healthy);
                    format!("{} {:?} {health:?}; ", update.alloc.short(), update.client)
                })
                .collect(),
            Command::TakeRevision(taken) => format!("revision {:?}", taken.files.keys()),
            other => format!("{other:?}").chars().take(300).collect(),
        };
        println!("{:>7} #{index} {words} {:?}", self.now, applied.rejection);
    }

    /// Nodes learn of what concerns them.
    fn spread(&mut self, applied: &Applied) {
        for at in 0..self.machines.len() {
            let id = self.machines[at].id;
            let concerns =
                |event: &Change| matches!(event, Change::Alloc { node, .. } if *node == id);
            if applied.events.iter().any(concerns) {
                let slow =
                    if self.trouble(20, &[5, applied.index, at as u64]) { 2_500 } else { 90 };
                self.after(3 + self.draw(slow, &[6, applied.index, at as u64]), Event::Orders(at));
            }
        }
    }

    /// A server applies what is committed, as far as it hears of it.
    pub(super) fn catch_up(&mut self, at: usize) -> Check {
        let leads = self.log.leader.is_some_and(|(leader, _)| leader == at);
        let server = &self.servers[at];
        if !server.up || (server.isolated && !leads) {
            return Ok(());
        }
        while self.servers[at].state.index() < self.log.entries.len() as u64 {
            let server = &mut self.servers[at];
            let next = server.state.index() + 1;
            let Some(command) = self.log.entries.get(next as usize - 1) else { break };
            if self.spoil.is_some_and(|spoil| spoil.forgets(at, next)) {
                server.state.apply(next, &Command::CollectGarbage(state::Garbage::default()));
                continue;
            }
            let applied = server.state.apply(next, command);
            self.note(at, &applied);
        }
        Ok(())
    }

    /// S15: servers at the same entry hold the same.
    pub(super) fn compare(&self) -> Check {
        let bytes = |state: &State| state.to_bytes().map_err(|error| format!("S15: {error}"));
        let truth = bytes(&self.log.state)?;
        for (at, server) in self.servers.iter().enumerate() {
            if server.state.index() == self.log.state.index() && bytes(&server.state)? != truth {
                return Err(format!("S15: server {at} differs at entry {}", server.state.index()));
            }
        }
        Ok(())
    }

    /// Who can chooses a leader, if one is missing or cannot be reached.
    pub(super) fn elect(&mut self) -> Check {
        let connected = self.connected();
        if let Some((leader, _)) = self.log.leader
            && self.can_commit(leader)
        {
            return Ok(());
        }
        if !self.is_majority(connected.len()) {
            // Somebody is to come back first, and asks then.
            return Ok(());
        }
        let others: Vec<usize> = connected
            .iter()
            .copied()
            .filter(|at| self.log.before.is_none_or(|(old, _)| old != *at))
            .collect();
        let from = if others.is_empty() { &connected } else { &others };
        let new = from[self.draw(from.len() as u64, &[7]) as usize];
        if let Some(old) = self.log.leader.take() {
            self.log.before = Some(old);
        }
        self.log.term += 1;
        let term = self.log.term;
        // Of what the leader before had proposed, the new one may hold a first part.
        if let Some((old, old_term)) = self.log.before.take() {
            let cut = &self.servers[old];
            let until = if cut.isolated { cut.isolated_at } else { u64::MAX };
            let own = |(_, other): &(&u64, &Proposal)| {
                (other.server, other.term) == (old, old_term) && other.at < until
            };
            let ids: Vec<u64> = self.log.pending.iter().filter(own).map(|(id, _)| *id).collect();
            let kept = self.draw(ids.len() as u64 + 1, &[8]) as usize;
            for id in ids.into_iter().take(kept) {
                self.commit(id, false)?;
            }
            if self.servers[old].lead.as_ref().is_none_or(|lead| lead.term != old_term) {
                self.lose(old, old_term)?;
            }
        }
        self.log.leader = Some((new, term));
        self.log.last = self.now;
        self.catch_up(new)?;
        self.begin(new, term);
        Ok(())
    }

    /// What a leader that is gone had proposed is lost; a part of it comes late, by way of another server.
    fn lose(&mut self, server: usize, term: u64) -> Check {
        let own = |other: &Proposal| (other.server, other.term) == (server, term);
        let ids: Vec<u64> =
            self.log.pending.iter().filter(|(_, other)| own(other)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(lost) = self.log.pending.remove(&id) else { continue };
            // Real servers hand no word on nodes on to the next leader. Here some come late all the same, as the state is to
            // refuse them.
            let of_loops = matches!(lost.from, From::Plan | From::Drain | From::Say | From::Nobody);
            if of_loops && self.trouble(2, &[9, id]) {
                let late = Event::Late(Box::new(lost.command), lost.of);
                self.after(self.draw(2_000, &[10, id]), late);
            }
            self.answer(server, term, lost.from, None)?;
        }
        Ok(())
    }

    pub(super) fn late(&mut self, command: Command, of: u64) {
        if let Some(leader) = self.reachable_leader() {
            self.propose_of(leader, command, From::Nobody, Some(of));
        }
    }

    /// A server finds out that it does not lead any more.
    pub(super) fn step_down(&mut self, server: usize, term: u64) -> Check {
        if self.servers[server].lead.as_ref().is_none_or(|lead| lead.term != term) {
            return Ok(());
        }
        if self.log.leader == Some((server, term)) {
            if self.can_commit(server) {
                return Ok(());
            }
            // What it proposed is decided on by whoever comes next.
            self.log.before = self.log.leader.take();
            self.servers[server].lead = None;
            self.after(300, Event::Elect);
            return Ok(());
        }
        self.servers[server].lead = None;
        self.lose(server, term)
    }

    pub(super) fn hand_over(&mut self) -> Check {
        let Some((server, _)) = self.log.leader else { return Ok(()) };
        if self.connected().len() < 2 || !self.can_commit(server) {
            return Ok(());
        }
        self.log.before = self.log.leader.take();
        self.servers[server].lead = None;
        self.elect()
    }

    pub(super) fn isolate(&mut self, at: usize, span: u64) {
        let now = self.now;
        let server = &mut self.servers[at];
        if !server.isolated {
            server.isolated_at = now;
        }
        server.isolated = true;
        server.isolated_until = server.isolated_until.max(now + span);
        self.after(span, Event::Heal(at));
        let term = self.servers[at].lead.as_ref().map(|lead| lead.term);
        if let Some(term) = term.filter(|_| self.servers.len() > 1) {
            self.after(400 + self.draw(1_500, &[11]), Event::Elect);
            self.after(300 + self.draw(4_000, &[12]), Event::StepDown(at, term));
        } else if self.log.leader.is_some_and(|(leader, _)| !self.can_commit(leader)) {
            // Without it there is no majority.
            self.doubt();
        }
    }

    /// The leader may have lost its majority.
    fn doubt(&mut self) {
        if let Some((leader, term)) = self.log.leader {
            self.after(500 + self.draw(1_500, &[13]), Event::StepDown(leader, term));
        }
        self.after(2_500, Event::Elect);
    }

    pub(super) fn heal(&mut self, at: usize) -> Check {
        if self.servers[at].isolated_until > self.now && !self.is_calm {
            return Ok(());
        }
        self.servers[at].isolated = false;
        let term = self.servers[at].lead.as_ref().map(|lead| lead.term);
        if let Some(term) = term.filter(|term| self.log.leader != Some((at, *term))) {
            self.step_down(at, term)?;
        }
        self.rejoin(at)
    }

    fn rejoin(&mut self, at: usize) -> Check {
        self.after(5 + self.draw(200, &[14]), Event::Apply(at));
        match self.log.leader {
            None => self.after(200 + self.draw(800, &[15]), Event::Elect),
            // What waited for a majority has one.
            Some((leader, term)) => {
                let own = |other: &Proposal| (other.server, other.term) == (leader, term);
                let last = self.log.pending.iter().rev().find(|(_, other)| own(other));
                if let Some((id, _)) = last {
                    self.after(5, Event::Commit(*id));
                }
            }
        }
        Ok(())
    }

    pub(super) fn down(&mut self, at: usize, span: u64) {
        let server = &mut self.servers[at];
        server.up = false;
        server.lead = None;
        server.down_until = server.down_until.max(self.now + span);
        self.after(span, Event::Up(at));
        if self.log.leader.is_some_and(|(leader, _)| leader == at) {
            self.log.before = self.log.leader.take();
            self.after(400 + self.draw(1_500, &[16]), Event::Elect);
        } else if self.log.leader.is_some_and(|(leader, _)| !self.can_commit(leader)) {
            self.doubt();
        }
    }

    /// A server comes back with what it had written down.
    pub(super) fn up(&mut self, at: usize) -> Check {
        if self.servers[at].up || (self.servers[at].down_until > self.now && !self.is_calm) {
            return Ok(());
        }
        let server = &mut self.servers[at];
        let kept = server.state.to_bytes().and_then(|bytes| State::from_bytes(&bytes));
        server.state = kept.map_err(|error| format!("S15: {error}"))?;
        server.up = true;
        self.rejoin(at)
    }

    /// Tells whoever waits for it what became of a command; nothing where nobody can say.
    fn answer(&mut self, server: usize, term: u64, from: From, applied: Option<Applied>) -> Check {
        match from {
            From::Report(machine, life) => self.reported(machine, life, applied.is_some()),
            From::Register(machine, life) => self.registered(machine, life, applied.is_some()),
            From::Nobody => {}
            From::Plan | From::Drain | From::Say | From::Intake => {
                let leads = self.servers[server].lead.as_ref();
                if leads.is_some_and(|lead| lead.term == term) {
                    self.heed(server, term, from, applied)?;
                }
            }
        }
        Ok(())
    }
}

/// Commands that are said one after the other.
pub(super) type Sayings = VecDeque<Command>;
