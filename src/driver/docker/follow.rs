//! Copies a container's output to the task's log files, for as long as the agent lives.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Handle;
use super::api::{Api, refusal};
use super::inspect::{Container, State};
use super::position::Sink;
use crate::DriverError;
use crate::logs::LogStream;

/// How many pieces are written at once.
const BATCH: usize = 256;

/// How often the position is stored while output comes.
const SAVE: Duration = Duration::from_secs(1);

/// How long the daemon is left alone after it failed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The copying of one container's output; ends with the container, or when dropped.
#[derive(Debug)]
pub(super) struct Follower {
    task: JoinHandle<()>,
    done: watch::Receiver<bool>,
}

impl Follower {
    pub(super) fn start(api: Api, handle: Handle) -> Self {
        let (tell, done) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Err(error) = follow(&api, &handle).await {
                tracing::warn!(task = handle.task, %error, "the output of a container is not kept");
            }
            // Nobody waits for it: nothing to tell.
            let _ = tell.send(true);
        });
        Self { task, done }
    }

    /// Becomes true when all there is has been copied.
    pub(super) fn done(&self) -> watch::Receiver<bool> {
        self.done.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: &Api, handle: &Handle) -> Result<(), DriverError> {
    let failed =
        |problem: String| DriverError::failed(format!("write the log of {}", handle.task), problem);
    let mut pause = PAUSE;
    let mut sink = loop {
        let opening = handle.clone();
        let opened = spawn_blocking(move || {
            let Handle { logs, task, container, log, .. } = &opening;
            Sink::open(logs, task, container, log)
        });
        match opened.await.map_err(|error| failed(error.to_string()))? {
            Ok(sink) => break sink,
            // The daemon keeps the output until there is a place for it again.
            Err(error) => {
                tracing::warn!(task = handle.task, %error, "the output of a container has to wait");
            }
        }
        if matches!(api.get(&handle.path()).await, Ok(None)) {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    pause = PAUSE;
    loop {
        // Looked at before reading: of a container that had ended by then, one reading is all there is.
        let ended = match api.get(&handle.path()).await {
            Ok(None) => return Ok(()),
            Ok(Some(value)) => matches!(Container::read(&value).state, State::Ended(_)),
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        let (back, result) = copy(api, handle, sink, !ended).await?;
        sink = back;
        match result {
            Ok(()) if ended => return Ok(()),
            Ok(()) => pause = PAUSE,
            Err((404, _)) => return Ok(()),
            // The daemon says that this container's output cannot be read, now or later.
            Err((400..=499, said)) | Err((501, said)) => return Err(failed(said)),
            Err((_, said)) => tracing::debug!(task = handle.task, said, "the output broke off"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

type Copied = (Sink, Result<(), (u16, String)>);

/// Reads until the stream ends. The sink goes to a blocking thread with each batch and comes back.
async fn copy(
    api: &Api,
    handle: &Handle,
    mut sink: Sink,
    follow: bool,
) -> Result<Copied, DriverError> {
    let client = match api.client() {
        Ok(client) => client,
        Err(error) => return Ok((sink, Err((0, error.to_string())))),
    };
    let options = LogsOptionsBuilder::default()
        .follow(follow)
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .since(sink.rewind())
        .build();
    let mut pieces = Box::pin(client.logs(&handle.container, Some(options)).ready_chunks(BATCH));
    let mut saved = tokio::time::Instant::now();
    let mut result = Ok(());
    loop {
        let batch = match tokio::time::timeout(SAVE, pieces.next()).await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(_) => Vec::new(),
        };
        let now = tokio::time::Instant::now();
        let save = batch.is_empty() || now - saved >= SAVE;
        if save {
            saved = now;
        }
        let mut good = Vec::with_capacity(batch.len());
        for piece in batch {
            match piece {
                Ok(piece) => good.push(piece),
                Err(error) => result = Err(refusal(&error)),
            }
        }
        sink = write(sink, good, save).await?;
        if result.is_err() {
            break;
        }
    }
    let sink = write(sink, Vec::new(), true).await?;
    Ok((sink, result))
}

async fn write(mut sink: Sink, pieces: Vec<LogOutput>, save: bool) -> Result<Sink, DriverError> {
    let written = spawn_blocking(move || {
        for piece in pieces {
            match piece {
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    sink.take(LogStream::Stdout, &message);
                }
                LogOutput::StdErr { message } => sink.take(LogStream::Stderr, &message),
                LogOutput::StdIn { .. } => {}
            }
        }
        if save {
            sink.save();
        }
        sink
    });
    written.await.map_err(|error| DriverError::failed("write a container's log", error))
}
