//! The logs of a whole job: a line at a time, each with the allocation and task that it is of.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context as _, anyhow};
use client::{Client, LogQuery};
use model::ClientStatus;
use model::wire::AllocListStub;

use crate::failure::Failure;

/// How many logs are read at once. Each holds a connection and a thread.
const AT_ONCE: usize = 32;

/// Lines that wait to be printed. Whoever reads us slowly slows down the reading.
const WAITING: usize = 256;

/// The longest piece of a line that is held, in bytes; a longer line goes on in the next piece.
const LONGEST: u64 = 64 * 1024;

/// One log and what stands before its lines; empty where there is only one log.
struct Source {
    prefix: String,
    query: LogQuery,
    alloc: AllocListStub,
}

/// Prints the logs of a job's allocations that run, or of its newest one when none does.
pub(crate) fn show(client: &Client, job: &str, query: &LogQuery) -> Result<ExitCode, Failure> {
    let allocs = client.job_allocations(job)?.into_value();
    let sources = choose(allocs, query);
    if sources.is_empty() {
        return Err(match query.task.as_str() {
            "" => anyhow!("job `{job}` has no allocation that has started a task"),
            task => anyhow!("job `{job}` has no allocation that has started a task `{task}`"),
        }
        .into());
    }
    let left_out = sources.len().saturating_sub(AT_ONCE);
    if left_out > 0 {
        anstream::eprintln!(
            "the {AT_ONCE} newest logs are shown, {left_out} are left out; name a task, or an allocation"
        );
    }
    let (sender, lines) = sync_channel(WAITING);
    for source in sources.into_iter().take(AT_ONCE) {
        let (client, sender) = (client.clone(), sender.clone());
        // Ends with the log, or with this process.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || read(&client, &source, &sender))
            .context("starting a thread for a log")?;
    }
    drop(sender);
    let mut out = std::io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    for line in lines {
        match line {
            // Whoever reads us may stop before we do.
            Ok(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
            Err(problem) => {
                anstream::eprintln!("{problem}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The logs to show, of the newest allocations first.
fn choose(mut allocs: Vec<AllocListStub>, query: &LogQuery) -> Vec<Source> {
    allocs.sort_by(|a, b| b.create_index.cmp(&a.create_index).then_with(|| a.name.cmp(&b.name)));
    if allocs.iter().any(|alloc| alloc.client_status == ClientStatus::Running) {
        allocs.retain(|alloc| alloc.client_status == ClientStatus::Running);
    } else {
        allocs.truncate(1);
    }
    let mut sources = Vec::new();
    for alloc in allocs {
        for task in alloc.task_states.keys() {
            if query.task.is_empty() || query.task == *task {
                let query = LogQuery { task: task.clone(), ..query.clone() };
                let prefix = format!("[{} {task}] ", alloc.id.short());
                sources.push(Source { prefix, query, alloc: alloc.clone() });
            }
        }
    }
    if let [only] = sources.as_mut_slice() {
        only.prefix.clear();
    }
    sources
}

fn read(client: &Client, source: &Source, to: &SyncSender<Result<Vec<u8>, String>>) {
    let name = || format!("log of task `{}` of {}", source.query.task, source.alloc.id.short());
    let reader = match client.logs(source.alloc.id, &source.query) {
        Ok(reader) => reader,
        Err(error) => {
            let _ = to.send(Err(format!("{}: {error}", name())));
            return;
        }
    };
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = source.prefix.clone().into_bytes();
        match (&mut reader).take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                // Two logs never share a line.
                if line.last() != Some(&b'\n') && !source.prefix.is_empty() {
                    line.push(b'\n');
                }
                if to.send(Ok(line)).is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = to.send(Err(format!("{} broke off: {error}", name())));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{AllocId, TaskRunState};

    use super::*;

    fn stub(name: &str, status: ClientStatus, index: u64, tasks: &[&str]) -> AllocListStub {
        let state =
            model::wire::TaskStateView { state: TaskRunState::Running, ..Default::default() };
        AllocListStub {
            id: AllocId::new(model::seeded_uuid(&[name.as_bytes()])),
            name: name.to_owned(),
            client_status: status,
            create_index: index,
            task_states: tasks.iter().map(|task| ((*task).to_owned(), state.clone())).collect(),
            ..AllocListStub::default()
        }
    }

    #[test]
    fn what_runs_is_chosen_and_named() {
        let allocs = vec![
            stub("old", ClientStatus::Complete, 1, &["web"]),
            stub("a", ClientStatus::Running, 2, &["web", "sidecar"]),
            stub("b", ClientStatus::Running, 3, &["web", "sidecar"]),
        ];
        let all = choose(allocs.clone(), &LogQuery::default());
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].alloc.name, "b", "newest first");
        assert!(all[0].prefix.ends_with(" sidecar] "), "{}", all[0].prefix);
        let web = choose(allocs.clone(), &LogQuery { task: "web".into(), ..LogQuery::default() });
        assert_eq!(web.len(), 2);
        let only = choose(allocs[..1].to_vec(), &LogQuery::default());
        assert_eq!((only.len(), only[0].prefix.as_str()), (1, ""), "alone it needs no name");
    }
}
