//! What people do: commits to the branch, and requests to the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gitrepo::CommitInfo;
use model::{AllocId, CommitId, Diagnostic, DrainStrategy, Eligibility, Job, JobId};
use state::{Command, FileReading, Plan, StopAlloc};

use super::jobs::{Spec, name};
use super::replication::From;
use super::schedule::Action;
use super::world::{Check, Event, World};
use crate::intake::{Ancestry, Budget, Head, Others, ReadFile, Reading, plan_revision, split};

const REPO: &str = "infra";

/// One file of the branch.
#[derive(Clone, Debug)]
struct File {
    blob: String,
    job: Job,
    is_broken: bool,
}

/// The branch that people push to.
#[derive(Debug, Default)]
pub(super) struct Branch {
    files: BTreeMap<String, File>,
    /// The head is the commit of this number.
    head: u64,
    /// The history that each commit belongs to: it changes when the branch is rewritten.
    lines: Vec<u64>,
    line: u64,
}

impl Branch {
    fn commit(&mut self) {
        self.head += 1;
        self.lines.resize(self.head as usize + 1, self.line);
    }

    /// The jobs that it declares, as far as their files can be read.
    pub(super) fn jobs(&self) -> BTreeSet<JobId> {
        self.files.values().map(|file| file.job.id.clone()).collect()
    }

    fn reading(&self) -> Reading {
        let one = |(path, file): (&String, &File)| {
            let wrong = Diagnostic::file_error("syntax", path, "it does not parse", "mend it");
            let read = ReadFile::Parsed {
                blob: file.blob.as_str().into(),
                jobs: if file.is_broken { Vec::new() } else { vec![file.job.clone()] },
                problems: if file.is_broken { vec![wrong] } else { Vec::new() },
                reading: FileReading::default(),
            };
            (path.clone(), read)
        };
        self.files.iter().map(one).collect()
    }
}

fn commit_id(n: u64) -> CommitId {
    CommitId::from(format!("{n:040}"))
}

impl World<'_> {
    pub(super) fn act(&mut self, action: &Action) -> Check {
        self.trace.add(format!("{action:?}").as_bytes());
        let node = |n: &u8| usize::from(*n) % usize::from(self.schedule.nodes.max(1));
        let server = |n: &u8| usize::from(*n) % self.servers.len();
        match action {
            Action::Push(job, spec) => self.push(*job, spec),
            Action::Remove(job) => {
                if self.branch.files.remove(name(*job).as_str()).is_some() {
                    self.branch.commit();
                    self.announce();
                }
            }
            Action::Break(job) => {
                if let Some(file) = self.branch.files.get_mut(name(*job).as_str()) {
                    file.is_broken = true;
                    file.blob.push('!');
                    self.branch.commit();
                    self.announce();
                }
            }
            Action::Rewrite => {
                self.branch.line += 1;
                self.branch.commit();
                self.announce();
            }
            Action::Restart(n, span) => self.leave(node(n), (*span).into(), false),
            Action::Reboot(n, span) => self.leave(node(n), (*span).into(), true),
            Action::Die(n) => self.die(node(n)),
            Action::Join(n) => self.join(node(n)),
            Action::Cut(n, span) => self.cut(node(n), (*span).into()),
            Action::Stick(n, span) => self.stick(node(n), (*span).into()),
            Action::Fail(n) => {
                if let Some((at, alloc)) = self.running(*n) {
                    let now = self.now;
                    if let Some(task) = self.machines[at].tasks.get_mut(&alloc) {
                        task.fail(now);
                    }
                    self.tend(at, alloc)?;
                }
            }
            Action::Bounce(n) => {
                if let Some((at, alloc)) = self.running(*n) {
                    let now = self.now;
                    if let Some(task) = self.machines[at].tasks.get_mut(&alloc) {
                        task.bounce(now, now + 1_500);
                    }
                    self.tend(at, alloc)?;
                }
            }
            Action::Drain(n, deadline, ignore_system) => {
                let at = self.clock();
                let drain = DrainStrategy {
                    deadline: deadline.map(|span| at + Duration::from_millis(span.into())),
                    force: false,
                    ignore_system: *ignore_system,
                    started_at: at,
                };
                let node = self.machines[node(n)].id;
                let drain = Some(drain);
                self.ask(Command::SetDrain { node, drain, mark_eligible: false, at });
            }
            Action::Undrain(n) => {
                let (node, at) = (self.machines[node(n)].id, self.clock());
                self.ask(Command::SetDrain { node, drain: None, mark_eligible: true, at });
            }
            Action::Eligible(n, yes) => {
                let (node, at) = (self.machines[node(n)].id, self.clock());
                let eligibility =
                    if *yes { Eligibility::Eligible } else { Eligibility::Ineligible };
                self.ask(Command::SetEligibility { node, eligibility, at });
            }
            Action::Promote(job) => {
                if let Some(deployment) = self.log.state.latest_deployment(&name(*job)) {
                    let (deployment, at) = (deployment.id, self.clock());
                    self.ask(Command::Promote { deployment, groups: Vec::new(), at });
                }
            }
            Action::Reject(job) => {
                if let Some(deployment) = self.log.state.latest_deployment(&name(*job)) {
                    let (deployment, at) = (deployment.id, self.clock());
                    self.ask(Command::FailDeployment { deployment, at });
                }
            }
            Action::Stop(n) => self.stop_one(*n),
            Action::Approve => self.approve(),
            Action::HandOver => self.hand_over()?,
            Action::Isolate(n, span) => self.isolate(server(n), (*span).into()),
            Action::Down(n, span) => self.down(server(n), (*span).into()),
        }
        Ok(())
    }

    pub(super) fn push(&mut self, job: u8, spec: &Spec) {
        let job = spec.job(job);
        let blob = job.spec_hash().to_string();
        let path = job.id.to_string();
        self.branch.files.insert(path, File { blob, job, is_broken: false });
        self.branch.commit();
        self.announce();
    }

    /// The leader's poller sees the new head a little later.
    fn announce(&mut self) {
        if let Some((at, term)) = self.log.leader {
            self.after(20 + self.draw(300, &[60]), Event::Poll(at, term));
        }
    }

    /// The leader takes in the head of the branch.
    pub(super) fn poll(&mut self, at: usize, term: u64) {
        let clock = self.clock();
        let server = &mut self.servers[at];
        let Some(lead) = server.lead.as_mut().filter(|lead| lead.term == term) else { return };
        if lead.reading || self.branch.head == 0 {
            return;
        }
        let record = server.state.repo(REPO).map(AsRef::as_ref);
        let commit = commit_id(self.branch.head);
        let known = record.and_then(|record| record.head.as_ref());
        if known == Some(&commit) {
            return;
        }
        let line = |of: &CommitId| {
            let number: usize = of.as_str().parse().unwrap_or_default();
            self.branch.lines.get(number).copied()
        };
        let ancestry = match known {
            None => Ancestry::First,
            Some(known) if line(known) == Some(self.branch.line) => Ancestry::Descendant,
            Some(_) => Ancestry::Rewritten,
        };
        let head = Head {
            repo: REPO.to_owned(),
            branch: "main".to_owned(),
            commit: CommitInfo {
                id: commit,
                parents: Vec::new(),
                author: "A <a@example.org>".to_owned(),
                subject: format!("commit {}", self.branch.head),
                committed_at: clock,
                tree: format!("tree {}", self.branch.head),
            },
            seen_at: clock,
            ancestry,
            inputs: String::new(),
        };
        let others = Others::of(&server.state, REPO, &BTreeSet::from([REPO.to_owned()]));
        let reading = self.branch.reading();
        let taken = plan_revision(record, &others, &head, &reading, Budget::default(), clock);
        // These jobs are small: one part holds them all.
        if let Some(part) = split(taken).into_iter().next() {
            lead.reading = true;
            self.propose(at, Command::TakeRevision(Box::new(part)), From::Intake);
        }
    }

    /// An operator's request goes to the leader, or nowhere.
    pub(super) fn ask(&mut self, command: Command) {
        if let Some(leader) = self.reachable_leader() {
            self.propose(leader, command, From::Nobody);
        }
    }

    pub(super) fn approve(&mut self) {
        if let Some(leader) = self.reachable_leader()
            && let Some(lead) = self.servers[leader].lead.as_mut()
        {
            lead.beats.approve();
            self.watch.losses_approved();
        }
        let at = self.clock();
        self.ask(Command::ApproveRemovals { repo: REPO.to_owned(), jobs: Vec::new(), at });
    }

    fn stop_one(&mut self, n: u8) {
        let Some(leader) = self.reachable_leader() else { return };
        let state = &self.servers[leader].state;
        let live: Vec<AllocId> =
            state.allocs().filter(|alloc| !alloc.terminal()).map(|alloc| alloc.id).collect();
        if let Some(alloc) = live.get(usize::from(n) % live.len().max(1)) {
            let description = "alloc was stopped on request".to_owned();
            let stop = vec![StopAlloc { alloc: *alloc, description, ..StopAlloc::default() }];
            let plan = Plan { basis: state.index(), at: self.clock(), stop, ..Plan::default() };
            self.propose(leader, Command::ApplyPlan(Box::new(plan)), From::Nobody);
        }
    }

    /// One of all tasks that run where an agent looks after them.
    fn running(&self, n: u8) -> Option<(usize, AllocId)> {
        let machines = self.machines.iter().enumerate().filter(|(_, machine)| machine.up);
        let all: Vec<(usize, AllocId)> = machines
            .flat_map(|(at, machine)| {
                let tasks = machine.tasks.values().filter(|task| task.runs());
                tasks.map(move |task| (at, task.alloc))
            })
            .collect();
        all.get(usize::from(n) % all.len().max(1)).copied()
    }
}
