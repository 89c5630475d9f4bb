//! The API's way to the logs of the tasks on this node.

use std::sync::Arc;
use std::time::Duration;

use api::{LogError, LogOrigin, LogOutput, LogPiece, LogPieces, LogRequest, TaskLogs};
use async_trait::async_trait;
use driver::{LogStart, LogStream};
use node::NodeRuntime;

/// How often a reader at the end asks whether the task is over.
const OVER: Duration = Duration::from_secs(1);

/// Reads the files that drivers write.
pub(crate) struct NodeLogs(pub(crate) Arc<NodeRuntime>);

#[async_trait]
impl TaskLogs for NodeLogs {
    async fn read(&self, request: LogRequest) -> Result<LogPieces, LogError> {
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
