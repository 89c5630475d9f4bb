//! Ways to the logs of the tasks on this node: the API's, and that of whoever they are sent to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{LogError, LogOrigin, LogOutput, LogPiece, LogPieces, LogRequest, TaskLogs};
use async_trait::async_trait;
use consensus::Consensus;
use driver::{LogStart, LogStream};
use model::TaskRunState;
use node::{LogSource, LogSources, NodeRuntime, Shipping, WhyNoLogs};

use crate::config::Settings;

/// How often a reader at the end asks whether the task is over.
const OVER: Duration = Duration::from_secs(1);

/// Reads the files that drivers write.
pub(crate) struct NodeLogs(pub(crate) Arc<NodeRuntime>);

#[async_trait]
impl TaskLogs for NodeLogs {
    async fn read(&self, request: LogRequest) -> Result<LogPieces, LogError> {
        if self.0.why_no_logs(request.alloc) == WhyNoLogs::Collected {
            return Err(LogError::NotFound(format!(
                "the files and logs of allocation {} were removed by its node to free disk space",
                request.alloc.short()
            )));
        }
        let dir = self.0.log_dir(request.alloc, &request.task).ok_or_else(|| {
            LogError::NotFound(format!(
                "this node has no logs of task `{}` of allocation {}",
                request.task,
                request.alloc.short()
            ))
        })?;
        let stream = match request.output {
            LogOutput::Stdout => LogStream::Stdout,
            LogOutput::Stderr => LogStream::Stderr,
        };
        let start = match (request.lines, request.origin) {
            (Some(lines), _) => LogStart::TailLines(lines),
            (None, LogOrigin::Start) => LogStart::Offset(request.offset),
            (None, LogOrigin::End) => LogStart::TailBytes(request.offset),
        };
        let follower = driver::read_logs(&dir, &request.task, stream, start, request.follow)
            .await
            .map_err(|error| LogError::Unreadable(error.to_string()))?;
        let node = Arc::clone(&self.0);
        let (alloc, task) = (request.alloc, request.task);
        let pieces = futures_util::stream::try_unfold(follower, move |mut follower| {
            let (node, task) = (Arc::clone(&node), task.clone());
            async move {
                let chunk = loop {
                    tokio::select! {
                        biased;
                        chunk = follower.next() => break chunk,
                        // What a task has written is in its log before it counts as over.
                        () = tokio::time::sleep(OVER) => {
                            if node.is_over(alloc, &task) {
                                follower.finish();
                            }
                        }
                    }
                };
                Ok(chunk.map_err(std::io::Error::other)?.map(|chunk| {
                    let piece = LogPiece {
                        file: chunk.file,
                        offset: chunk.offset,
                        data: chunk.data.into(),
                        missing: chunk.gap.map(|gap| gap.to_string()),
                    };
                    (piece, follower)
                }))
            }
        });
        Ok(Box::pin(pieces))
    }
}

/// Begins to send the logs of this node's tasks to where the settings say. What is sent says which job and commit it is
/// of; a task that the servers have not heard of yet waits until they have.
pub(crate) fn ship(
    settings: &Settings,
    node: &Arc<NodeRuntime>,
    consensus: &Consensus,
) -> anyhow::Result<Shipping> {
    let (node, consensus) = (Arc::downgrade(node), consensus.clone());
    let sources: LogSources = Arc::new(move || {
        let Some(node) = node.upgrade() else { return Vec::new() };
        let state = consensus.state();
        let mut sources = Vec::new();
        for report in node.statuses() {
            let Some(alloc) = state.alloc(report.alloc) else { continue };
            for (task, status) in &report.tasks {
                let Some(dir) = node.log_dir(report.alloc, task) else { continue };
                sources.push(LogSource {
                    alloc: report.alloc,
                    job: alloc.job.to_string(),
                    group: alloc.group.to_string(),
                    task: task.clone(),
                    commit: alloc.origin.commit.to_string(),
                    dir,
                    over: status.state == TaskRunState::Dead,
                });
            }
        }
        sources
    });
    Shipping::start(&settings.log_shipping, &settings.data_dir, &settings.name, &sources)
        .context("starting to send logs")
}
