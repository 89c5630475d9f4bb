//! The API's way to the logs of the tasks on this node.

use std::sync::Arc;

use api::{LogError, LogOrigin, LogOutput, LogPiece, LogPieces, LogRequest, TaskLogs};
use async_trait::async_trait;
use driver::{LogStart, LogStream};
use node::NodeRuntime;

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
        let start = match request.origin {
            LogOrigin::Start => LogStart::Offset(request.offset),
            LogOrigin::End => LogStart::TailBytes(request.offset),
        };
        let follower = driver::read_logs(&dir, &request.task, stream, start, request.follow)
            .await
            .map_err(|error| LogError::Unreadable(error.to_string()))?;
        let pieces = futures_util::stream::try_unfold(follower, |mut follower| async move {
            let chunk = follower.next().await.map_err(std::io::Error::other)?;
            Ok(chunk.map(|chunk| {
                let piece =
                    LogPiece { file: chunk.file, offset: chunk.offset, data: chunk.data.into() };
                (piece, follower)
            }))
        });
        Ok(Box::pin(pieces))
    }
}
