//! The loop of one receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driver::{LogCursor, LogError, LogStart, LogStream};
use model::{AllocId, Timestamp};

use super::batch::{Batch, Limits, Record, StreamOf};
use super::positions::Positions;
use super::retry::{Outcome, Retry};
use super::sockets::{Sent, Sink};
use super::{LogReceiver, LogSources};

/// How often the node is asked for its tasks.
const REFRESH: Duration = Duration::from_millis(500);

/// How long a stream that had nothing new is left alone, at first and at most.
const IDLE: Duration = Duration::from_millis(200);
const LONGEST_IDLE: Duration = Duration::from_secs(2);

/// How long one that cannot be read is left alone.
const UNREADABLE: Duration = Duration::from_secs(30);

type Key = (AllocId, String, bool);

struct Stream {
    of: StreamOf,
    due: Instant,
    idle: Duration,
    /// Whether all that was there at the last look has been taken.
    caught_up: bool,
}

/// One receiver's streams and how far each is.
pub(super) struct Worker {
    sink: Sink,
    node: String,
    sources: LogSources,
    positions: Positions,
    streams: BTreeMap<Key, Stream>,
    refreshed: Option<Instant>,
    retry: Retry,
    /// The most records of the next batch; small while looking for one that is refused.
    most: usize,
    /// Which stream is first next time, so that a busy one does not hold up the rest.
    turn: usize,
}

impl Worker {
    pub(super) fn new(
        receiver: LogReceiver,
        dir: &Path,
        node: &str,
        sources: LogSources,
    ) -> std::io::Result<Self> {
        let sink = Sink::new(receiver);
        Ok(Self {
            most: sink.limits().records,
            sink,
            node: node.to_owned(),
            sources,
            positions: Positions::open(dir)?,
            streams: BTreeMap::new(),
            refreshed: None,
            retry: Retry::default(),
            turn: 0,
        })
    }

    /// Goes on until it is told to stop, or whoever could tell is gone.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        loop {
            let wait = self.step(Instant::now(), clock());
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Sends one batch, if there is something to send and it is time. Returns how long to wait.
    pub(super) fn step(&mut self, now: Instant, at: Timestamp) -> Duration {
        let left = self.retry.left(now);
        if !left.is_zero() {
            return left;
        }
        if self.refreshed.is_none_or(|last| now.duration_since(last) >= REFRESH) {
            self.refresh(now);
        }
        let batch = self.collect(now, at);
        if batch.records.is_empty() {
            let due = self.streams.values().map(|stream| stream.due).min();
            let due = due.map_or(REFRESH, |due| due.saturating_duration_since(now));
            return due.clamp(Duration::from_millis(20), REFRESH);
        }
        let sent = self.sink.send(&self.node, &batch.records);
        self.settle(now, &batch.records, &sent);
        self.retry.left(now)
    }

    /// Asks the node which tasks there are.
    fn refresh(&mut self, now: Instant) {
        self.refreshed = Some(now);
        let mut gone = std::mem::take(&mut self.streams);
        for source in (self.sources)() {
            let source = Arc::new(source);
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                let key = (source.alloc, source.task.clone(), stream == LogStream::Stderr);
                let of = (Arc::clone(&source), stream);
                let known = gone.remove(&key).map(|mut known| {
                    // Its unfinished last line is all there will be.
                    if known.of.0 != of.0 {
                        known.due = now;
                    }
                    known.of = of.clone();
                    known
                });
                let new = || Stream { of, due: now, idle: IDLE, caught_up: false };
                self.streams.insert(key, known.unwrap_or_else(new));
            }
        }
        for ((alloc, task, _), _) in gone.iter().filter(|(_, stream)| !stream.caught_up) {
            tracing::warn!(%alloc, task, to = self.sink.target(), "a log was removed before all of it was sent");
        }
        if !gone.is_empty() || self.streams.is_empty() {
            let kept: BTreeSet<AllocId> = self.streams.keys().map(|(alloc, ..)| *alloc).collect();
            // A node that names no task at all may just have begun.
            if !kept.is_empty() {
                self.positions.retain(|alloc| kept.contains(&alloc));
            }
        }
    }

    fn collect(&mut self, now: Instant, at: Timestamp) -> Batch {
        let limits = self.sink.limits();
        let limits = Limits { records: self.most.min(limits.records), ..limits };
        let mut batch = Batch::default();
        let count = self.streams.len();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % count.max(1);
        let keys: Vec<Key> =
            self.streams.iter().filter(|(_, s)| s.due <= now).map(|(key, _)| key.clone()).collect();
        let split = first.min(keys.len());
        let (later, sooner) = keys.split_at(split);
        for key in sooner.iter().chain(later) {
            if batch.is_full(limits) {
                break;
            }
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let before = batch.records.len();
            match read(&mut self.positions, stream, &mut batch, limits, at) {
                Ok(caught_up) => {
                    stream.caught_up = caught_up;
                    if batch.records.len() > before {
                        stream.idle = IDLE;
                    } else {
                        stream.due = now + stream.idle;
                        stream.idle = (stream.idle * 2).min(LONGEST_IDLE);
                    }
                }
                Err(error) => {
                    stream.due = now + UNREADABLE;
                    let task = &stream.of.0.task;
                    tracing::warn!(task, %error, "a log cannot be sent for now");
                }
            }
        }
        batch
    }

    fn settle(&mut self, now: Instant, records: &[Record], sent: &Sent) {
        self.advance(records.get(..sent.taken).unwrap_or(records));
        let rest = records.get(sent.taken..).unwrap_or_default();
        match sent.outcome {
            Outcome::Taken => {
                if self.retry.is_failing() {
                    tracing::info!(to = self.sink.target(), "logs are sent again");
                }
                self.retry.took();
                self.most = (self.most * 2).min(self.sink.limits().records);
            }
            Outcome::Later(asked) => {
                if !self.retry.is_failing() {
                    let problem = &sent.problem;
                    tracing::warn!(
                        to = self.sink.target(),
                        problem,
                        "logs cannot be sent and wait"
                    );
                }
                self.retry.failed(now, asked);
            }
            Outcome::Refused if rest.len() > 1 => self.most = rest.len() / 2,
            Outcome::Refused => {
                if let Some(record) = rest.first() {
                    let (task, problem) = (&record.source.task, &sent.problem);
                    let to = self.sink.target();
                    tracing::warn!(task, to, problem, "a log line was refused and is left out");
                }
                self.advance(rest);
            }
        }
    }

    /// Stores the places after records that are done with.
    fn advance(&mut self, records: &[Record]) {
        let mut touched = BTreeSet::new();
        for record in records {
            let source = &record.source;
            self.positions.set(source.alloc, &source.task, record.stream, record.end);
            touched.insert(source.alloc);
        }
        for alloc in touched {
            if let Err(error) = self.positions.save(alloc) {
                tracing::warn!(%alloc, %error, "how far a log was sent cannot be stored; a restart repeats lines");
            }
        }
    }
}

fn read(
    positions: &mut Positions,
    stream: &Stream,
    batch: &mut Batch,
    limits: Limits,
    at: Timestamp,
) -> Result<bool, LogError> {
    let (source, which) = &stream.of;
    let (dir, task) = (&source.dir, &source.task);
    let mut cursor = match positions.get(source.alloc, task, *which) {
        Some(position) => LogCursor::resume(dir, task, *which, position)?,
        None => LogCursor::open(dir, task, *which, LogStart::Offset(0))?,
    };
    batch.fill(&stream.of, &mut cursor, limits, at)
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
