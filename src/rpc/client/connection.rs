//! One connection to a server.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout_at};

use super::calls::{Calls, Outcome};
use crate::error::io_words;
use crate::frame::{Frame, MAX_HEAD, VERSION};
use crate::reader::FrameReader;
use crate::writer::{Outgoing, Pace, write_frames};
use crate::{ClientLimits, Code, Method, Refused};

/// Why a call failed.
pub(super) enum Failed {
    Refused(Refused),
    Broken { detail: String, sent: bool },
    Timeout { sent: bool },
    TooLarge { size: usize, limit: usize },
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) enum NoConnection {
    /// Nobody is there, or nobody that can be believed.
    Unreachable(String),
    /// The server said no.
    Refused(Refused),
}

impl From<String> for NoConnection {
    fn from(why: String) -> Self {
        Self::Unreachable(why)
    }
}

/// A connection that a server has greeted.
pub(super) struct Connection {
    calls: Arc<Calls>,
    requests: mpsc::Sender<Outgoing>,
    /// One for each request that the server works on at once for us.
    slots: Semaphore,
    /// Largest body that the server takes.
    body: usize,
    /// Tells the connection that nobody will use it any more.
    retire: Arc<Notify>,
}

impl Connection {
    /// Waits for the server's first word, and keeps the connection in a task of its own from then on.
    ///
    /// # Errors
    /// Why the server does not want us.
    pub(super) async fn open<S>(stream: S, limits: &ClientLimits) -> Result<Self, NoConnection>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let mut reader = FrameReader::new(read, limits.frame, limits.connect);
        let (frame, in_flight) = match reader.next().await {
            Ok(Some(Frame::Hello { version: VERSION, frame, in_flight })) => (frame, in_flight),
            Ok(Some(Frame::Hello { version, .. })) => {
                let why = format!("it speaks version {version} of the protocol, not {VERSION}");
                return Err(why.into());
            }
            // Soon it will not be there.
            Ok(Some(Frame::Goodbye { refused, .. })) if refused.code == Code::STOPPING => {
                return Err(refused.words.into());
            }
            Ok(Some(Frame::Goodbye { refused, .. })) => return Err(NoConnection::Refused(refused)),
            Ok(Some(_)) => return Err("it did not greet".to_owned().into()),
            Ok(None) => return Err("it closed the connection".to_owned().into()),
            Err(error) => return Err(error.to_string().into()),
        };
        reader.set_silence(limits.silence);
        let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX).clamp(1, 64 * 1024);
        let frame = usize::try_from(frame).unwrap_or(usize::MAX);
        let calls = Arc::new(Calls::new());
        let (requests, queue) = mpsc::channel(in_flight + 16);
        let retire = Arc::new(Notify::new());
        let kept = Kept {
            calls: Arc::clone(&calls),
            retire: Arc::clone(&retire),
            pace: Pace { keep_alive: limits.keep_alive, silence: limits.silence },
            idle: limits.idle,
        };
        tokio::spawn(kept.run(reader, write, queue));
        let body = frame.saturating_sub(MAX_HEAD);
        Ok(Self { calls, requests, slots: Semaphore::new(in_flight), body, retire })
    }

    /// Whether new calls may be made on it.
    pub(super) fn is_open(&self) -> bool {
        self.calls.is_open()
    }

    /// Takes no new calls; those that wait get their answers, and then it is closed.
    pub(super) fn retire(&self, why: &str) {
        self.calls.close(why);
        self.retire.notify_one();
    }

    pub(super) async fn call(
        &self,
        method: Method,
        body: Bytes,
        until: Instant,
    ) -> Result<Bytes, Failed> {
        if body.len() > self.body {
            return Err(Failed::TooLarge { size: body.len(), limit: self.body });
        }
        // The semaphore is never closed.
        let slot = timeout_at(until, self.slots.acquire()).await;
        let _slot = slot.map_err(|_| Failed::Timeout { sent: false })?;
        let added = self.calls.add();
        let (id, told) = added.map_err(|detail| Failed::Broken { detail, sent: false })?;
        let mut call = OpenCall { calls: &self.calls, id, sent: false };
        let left = until.saturating_duration_since(Instant::now());
        let limit_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let request = Frame::Request { id, method, limit_ms, body };
        let outcome = timeout_at(until, async {
            // A failure means that the connection has ended, which the call is told like all others.
            let _ = self.requests.send(request.into()).await;
            told.await
        });
        match outcome.await {
            Err(_) => {
                call.forget();
                Err(Failed::Timeout { sent: call.sent })
            }
            Ok(Ok(Outcome::Answered(body))) => Ok(body),
            Ok(Ok(Outcome::Refused(refused))) => Err(Failed::Refused(refused)),
            Ok(Ok(Outcome::Broken { detail, sent })) => Err(Failed::Broken { detail, sent }),
            // The task was killed with the runtime.
            Ok(Err(_)) => {
                Err(Failed::Broken { detail: "this process is stopping".to_owned(), sent: true })
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.retire.notify_one();
    }
}

/// Forgets its call when the caller gives up.
struct OpenCall<'a> {
    calls: &'a Calls,
    id: u64,
    sent: bool,
}

impl OpenCall<'_> {
    fn forget(&mut self) {
        self.sent |= self.calls.forget(self.id);
    }
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The task's side of a connection.
struct Kept {
    calls: Arc<Calls>,
    retire: Arc<Notify>,
    pace: Pace,
    idle: Duration,
}

impl Kept {
    async fn run<S>(
        self,
        mut reader: FrameReader<ReadHalf<S>>,
        write: tokio::io::WriteHalf<S>,
        queue: mpsc::Receiver<Outgoing>,
    ) where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let why = {
            let calls = &self.calls;
            let wanted = |frame: &Frame| match frame {
                Frame::Request { id, .. } => calls.sending(*id),
                _ => true,
            };
            let writing = pin!(write_frames(write, queue, self.pace, wanted));
            let reading = pin!(self.read(&mut reader));
            match select(reading, writing).await {
                Either::Left((why, _)) => why,
                Either::Right((Ok(()), _)) => "it is not used any more".to_owned(),
                Either::Right((Err(error), _)) => io_words(&error),
            }
        };
        self.calls.fail(&why);
    }

    /// Reads answers until there is a reason to stop.
    async fn read<S>(&self, reader: &mut FrameReader<ReadHalf<S>>) -> String
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut calls_before = 0;
        let mut idle = pin!(sleep(self.idle));
        loop {
            let frame = tokio::select! {
                frame = reader.next() => frame,
                () = self.retire.notified() => {
                    self.calls.close("it is not used any more");
                    if self.calls.is_empty() {
                        return "it is not used any more".to_owned();
                    }
                    continue;
                }
                () = &mut idle => {
                    match self.calls.close_if_unused("it was idle", calls_before) {
                        Ok(()) => return "it was idle".to_owned(),
                        Err(calls) => calls_before = calls,
                    }
                    idle.as_mut().reset(Instant::now() + self.idle);
                    continue;
                }
            };
            match frame {
                Ok(Some(Frame::Answer { id, body })) => {
                    self.calls.settle(id, Outcome::Answered(body));
                }
                Ok(Some(Frame::Refusal { id, refused })) => {
                    self.calls.settle(id, Outcome::of_refusal(refused));
                }
                Ok(Some(Frame::Goodbye { last, refused })) => {
                    self.calls.close_after(last, &refused.words);
                }
                Ok(Some(Frame::Alive | Frame::Hello { .. })) => {}
                Ok(Some(Frame::Request { .. })) => return "it sent a request".to_owned(),
                Ok(None) => return "it closed the connection".to_owned(),
                Err(error) => return error.to_string(),
            }
            if !self.calls.is_open() && self.calls.is_empty() {
                return "it is not used any more".to_owned();
            }
        }
    }
}
