//! Which allocations move because another node suits them better (`gitops { improve {} }`). Pure: the state and the time
//! in, commands out. As with a node that is emptied it only says that an allocation is to move; the evaluator finds the
//! place and lets the old one go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consensus::Consensus;
use evaluator::{Improvement, given_up, improvements, improves};
use model::{JobId, Timestamp};
use state::{Command, State};

use crate::server::Clock;
use crate::worker::Worker;

/// How often it is looked at all jobs that ask for it.
const EVERY: Duration = Duration::from_secs(60);

/// Moves of a job that a plan names.
const SHOWN: usize = 5;

/// What is to be said now: what is to move, one command for each reason, and what stays after all.
pub(crate) fn step(state: &State, now: Timestamp) -> Vec<Command> {
    let mut commands = Vec::new();
    let stays = given_up(state, now);
    if !stays.is_empty() {
        commands.push(Command::UnmarkMigrate { allocs: stays, at: now });
    }
    commands.extend(improvements(state, now).into_iter().map(|found| Command::MarkMigrate {
        allocs: vec![found.alloc],
        at: now,
        reason: found.reason,
    }));
    commands
}

/// What would be moved, a line for each job.
pub(crate) fn notes(moves: &[Improvement]) -> Vec<String> {
    let mut jobs: BTreeMap<&JobId, Vec<&Improvement>> = BTreeMap::new();
    for found in moves {
        jobs.entry(&found.job).or_default().push(found);
    }
    let line = |(job, moves): (&JobId, Vec<&Improvement>)| {
        let shown = moves.iter().take(SHOWN);
        let mut words: Vec<String> =
            shown.map(|found| format!("{} ({})", found.name, found.reason)).collect();
        if moves.len() > SHOWN {
            words.push(format!("{} more", moves.len() - SHOWN));
        }
        let plural = if moves.len() == 1 { "" } else { "s" };
        format!("job {job} would move {} allocation{plural}: {}", moves.len(), words.join(", "))
    };
    jobs.into_iter().map(line).collect()
}

/// Improves placements while this server leads.
pub(crate) async fn run(consensus: Consensus, clock: Clock, worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let state = consensus.state();
        if !improves(&state) {
            continue;
        }
        worker.busy();
        let now = clock();
        // A look at many nodes takes longer than the leader's peers wait for a sign of life.
        let error = match tokio::task::spawn_blocking(move || step(&state, now)).await {
            Ok(commands) => propose(&consensus, commands).await,
            Err(error) => Some(format!("the look did not end: {error}")),
        };
        worker.done(clock(), error);
    }
}

/// What could not be said is found again with the next look.
async fn propose(consensus: &Consensus, commands: Vec<Command>) -> Option<String> {
    for command in commands {
        if let Err(error) = consensus.propose(command).await {
            return Some(error.to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests;
