//! A task's output as a stream.

use std::io::Read;

use model::AllocId;

use crate::error::ClientError;
use crate::reads::LogOrigin;
use crate::transport::Client;

/// One of a task's outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is to be read of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The task; may be empty when the allocation has only one.
    pub task: String,
    /// Which output.
    pub source: LogSource,
    /// What `offset` counts from.
    pub origin: LogOrigin,
    /// Where to begin, in bytes.
    pub offset: u64,
    /// Begin so many lines before the end instead.
    pub lines: Option<u32>,
    /// Whether to go on when the end is reached.
    pub follow: bool,
}

impl Client {
    /// The bytes of a task's log, as they come. With `follow` the stream has no time limit once it has begun.
    ///
    /// # Errors
    /// When the agent cannot be reached, or there is no such log.
    pub fn logs(
        &self,
        alloc: AllocId,
        query: &LogQuery,
    ) -> Result<Box<dyn Read + Send + Sync>, ClientError> {
        let mut asked = vec![
            ("plain", "true".to_owned()),
            (
                "type",
                match query.source {
                    LogSource::Stdout => "stdout".to_owned(),
                    LogSource::Stderr => "stderr".to_owned(),
                },
            ),
            (
                "origin",
                match query.origin {
                    LogOrigin::Start => "start".to_owned(),
                    LogOrigin::End => "end".to_owned(),
                },
            ),
            ("offset", query.offset.to_string()),
            ("follow", query.follow.to_string()),
        ];
        if let Some(lines) = query.lines {
            asked.push(("lines", lines.to_string()));
        }
        if !query.task.is_empty() {
            asked.push(("task", query.task.clone()));
        }
        let response = self.open(&format!("/client/fs/logs/{alloc}"), &asked)?;
        Ok(Box::new(response.into_body().into_reader()))
    }
}
