//! When periodic jobs start. Pure: the state and the time in, commands out. What of a schedule is behind is in the state,
//! so that whoever leads next neither repeats nor forgets a time; of several that nobody was there for, the last one has
//! its run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consensus::{Consensus, SubscriptionError};
use jobfile::Schedule;
use model::{Job, JobId, Timestamp};
use state::{Command, Event, JobRecord, LIVE_CHILDREN, Launch, State};

use crate::server::Clock;
use crate::worker::Worker;

/// The wait after a command that could not be committed.
const RETRY: Duration = Duration::from_millis(200);
/// The longest sleep: the clock that schedules are read by may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(30);
/// Jobs that one step starts at most; the rest follows at once.
const BATCH: usize = 256;

/// What is to be done now, and when to look again though nothing happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) commands: Vec<Command>,
    pub(crate) wake: Option<Timestamp>,
}

/// The next time of each periodic job. It follows from the state alone; kept because to find it anew with each look takes
/// long.
#[derive(Debug, Default)]
pub(crate) struct Timetable(BTreeMap<JobId, Row>);

#[derive(Debug)]
struct Row {
    version: u64,
    settled: Timestamp,
    /// Nothing for a schedule that cannot be read here: this machine may not know the time zone.
    schedule: Option<Schedule>,
    next: Option<Timestamp>,
}

impl Timetable {
    /// Looks at all periodic jobs.
    pub(crate) fn step(&mut self, state: &State, now: Timestamp) -> Step {
        let mut step = Step::default();
        let scheduled: Vec<_> = state.jobs().filter(|record| record.schedule().is_some()).collect();
        self.0.retain(|id, _| state.job(id).is_some_and(|record| record.schedule().is_some()));
        for record in scheduled {
            let Some(row) = self.row(record) else { continue };
            let Some(next) = row.next else { continue };
            if next > now {
                step.wake = Some(step.wake.map_or(next, |wake| wake.min(next)));
            } else if step.commands.len() < BATCH {
                step.commands.push(due(state, record, row, next, now));
            }
        }
        step
    }

    fn row(&mut self, record: &JobRecord) -> Option<&Row> {
        let periodic = record.schedule()?;
        let version = record.current()?.version;
        let settled = settled(record);
        let is_new = |row: &Row| row.version != version || row.settled != settled;
        if self.0.get(&record.id).is_none_or(is_new) {
            let schedule = Schedule::of(periodic)
                .inspect_err(|why| {
                    tracing::warn!(job = %record.id, "does not start: {why}");
                })
                .ok();
            let next = schedule.as_ref().and_then(|schedule| schedule.next(settled));
            self.0.insert(record.id.clone(), Row { version, settled, schedule, next });
        }
        self.0.get(&record.id)
    }
}

/// Jobs of before there was a schedule to follow have nothing to make up.
fn settled(record: &JobRecord) -> Timestamp {
    let taken = record.current().map(|version| version.submitted_at).unwrap_or_default();
    if record.launches.settled.is_zero() { taken } else { record.launches.settled }
}

fn due(state: &State, record: &JobRecord, row: &Row, next: Timestamp, now: Timestamp) -> Command {
    let latest = row.schedule.as_ref().and_then(|schedule| schedule.latest(now));
    let launch = Launch {
        job: record.id.clone(),
        version: row.version,
        run_of: latest.map_or(next, |latest| latest.max(next)),
        forced: false,
        at: now,
    };
    let live = state.live_children_of_job(&record.id).len();
    let overlaps = record.schedule().is_some_and(|periodic| periodic.prohibit_overlap) && live > 0;
    if overlaps || live >= LIVE_CHILDREN {
        Command::SkipPeriodic(launch)
    } else {
        Command::LaunchPeriodic(launch)
    }
}

/// When a periodic job starts next; nothing for one that does not.
pub fn next_launch(record: &JobRecord, now: Timestamp) -> Option<Timestamp> {
    Schedule::of(record.schedule()?).ok()?.next(now.max(settled(record)))
}

/// When a job starts next, if it is periodic and just taken in.
pub(crate) fn next_time(job: &Job, now: Timestamp) -> Option<Timestamp> {
    let periodic = job.periodic.as_ref().filter(|periodic| periodic.enabled)?;
    Schedule::of(periodic).ok()?.next(now)
}

/// Starts periodic jobs while this server leads.
pub(crate) async fn run(consensus: Consensus, clock: Clock, worker: Arc<Worker>) {
    let mut subscription = consensus.subscribe();
    let mut timetable = Timetable::default();
    loop {
        let now = clock();
        let step = timetable.step(&consensus.state(), now);
        let mut wake = step.wake.map(|at| at.since(now).min(LONGEST));
        if !step.commands.is_empty() {
            worker.busy();
            wake = Some(Duration::ZERO);
            let mut error = None;
            for command in step.commands {
                tell(&command);
                let refused = match consensus.propose(command).await {
                    Ok(applied) => applied.rejection.map(|rejection| rejection.to_string()),
                    Err(failed) => Some(failed.to_string()),
                };
                if let Some(refused) = refused {
                    error = Some(refused);
                    wake = Some(RETRY);
                }
            }
            worker.done(clock(), error);
        }
        let asleep = tokio::time::sleep(wake.unwrap_or_default());
        tokio::pin!(asleep);
        loop {
            let received = tokio::select! {
                received = subscription.next() => received,
                () = &mut asleep, if wake.is_some() => break,
            };
            match received {
                Ok(applied) => {
                    let of_job = applied.events.iter().any(|event| matches!(event, Event::Job(_)));
                    if of_job && wake.is_none_or(|wake| wake > RETRY) {
                        break;
                    }
                }
                Err(SubscriptionError::Lagged) => break,
                Err(SubscriptionError::Closed) => return,
            }
        }
    }
}

fn tell(command: &Command) {
    match command {
        Command::LaunchPeriodic(launch) => {
            tracing::info!(job = %launch.job, "starts by its schedule")
        }
        Command::SkipPeriodic(launch) => {
            tracing::warn!(job = %launch.job, "a run is left out: those before it are not over");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
