//! Sends what tasks write to a receiver elsewhere: syslog, or OpenTelemetry over HTTP.
//!
//! ```text
//!  log files ──lines──▶ batch ──encode──▶ socket ──taken──▶ position on disk
//! ```
//!
//! It reads the log files and never a task's pipe: a slow or dead receiver costs lag and nothing else. A line counts as
//! sent once its receiver has taken the batch that it is in; then the place after it is stored, and the next agent goes
//! on there. So lines come at least once, and after a kill at most the last batch comes twice. Where rotation is faster
//! than the receiver, a line of our own says how many bytes are missing.
//!
//! Each receiver has one thread with one batch in memory.

mod batch;
mod otlp;
mod positions;
mod retry;
mod sockets;
mod syslog;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::AllocId;

pub use otlp::OtlpOptions;
pub use syslog::{Facility, SyslogAddress, SyslogOptions};
use worker::Worker;

/// How long a stopping agent waits for a batch that is under way; what was not taken is sent again.
const STOP: Duration = Duration::from_secs(2);

/// A task whose output is to be sent, and what to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// Its allocation.
    pub alloc: AllocId,
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// The task.
    pub task: String,
    /// The commit that the job came from.
    pub commit: String,
    /// Where its log files are.
    pub dir: PathBuf,
    /// Whether it has ended for good: then an unfinished last line is all there will be of it.
    pub over: bool,
}

/// Lists the tasks of this node, with those that have ended and whose logs are still there.
pub type LogSources = Arc<dyn Fn() -> Vec<LogSource> + Send + Sync>;

/// Where logs are sent.
#[derive(Clone, Debug)]
pub enum LogReceiver {
    /// RFC 5424 over UDP, TCP or a local socket.
    Syslog(SyslogOptions),
    /// OTLP over HTTP, in JSON.
    Otlp(OtlpOptions),
}

impl LogReceiver {
    /// The name of its positions on disk.
    const fn name(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
        }
    }
}

/// The sending, until it is stopped.
#[derive(Debug)]
pub struct Shipping {
    workers: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Shipping {
    /// Begins to send to each of the receivers. `node` is the node's name, `data_dir` the agent's.
    ///
    /// # Errors
    /// When a thread cannot be started or the positions cannot be stored.
    pub fn start(
        receivers: &[LogReceiver],
        data_dir: &Path,
        node: &str,
        sources: &LogSources,
    ) -> std::io::Result<Self> {
        let mut workers = Vec::new();
        for receiver in receivers {
            let dir = data_dir.join("client/shipping").join(receiver.name());
            let worker = Worker::new(receiver.clone(), &dir, node, Arc::clone(sources))?;
            let (stop, stopped) = channel();
            let thread = std::thread::Builder::new()
                .name(format!("ship-{}", receiver.name()))
                .spawn(move || worker.run(&stopped))?;
            workers.push((stop, thread));
        }
        Ok(Self { workers })
    }

    /// Ends it. Blocks for two seconds at most.
    pub fn stop(self) {
        let threads: Vec<_> = self.workers.into_iter().map(|(_stop, thread)| thread).collect();
        let until = Instant::now() + STOP;
        while Instant::now() < until && threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
