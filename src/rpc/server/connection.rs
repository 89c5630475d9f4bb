//! One connection, from the first word to the last.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use identity::Peer;
use tokio::io::{AsyncRead, ReadHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::dial::Stream;
use crate::frame::{Frame, MAX_HEAD, VERSION};
use crate::reader::FrameReader;
use crate::writer::{Outgoing, Pace, write_frames};
use crate::{Code, Method, Refused};

/// Who calls.
pub(super) enum Caller {
    Peer(Peer),
    /// Somebody without a certificate, who takes one of the few places for such.
    Stranger(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit),
}

impl Caller {
    pub(super) fn name(&self) -> String {
        self.peer().map_or_else(|| "without a certificate".to_owned(), ToString::to_string)
    }

    fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::Stranger(_) => None,
        }
    }
}

/// What one connection may do, by who is at its other end.
struct Allowance {
    frame: usize,
    in_flight: usize,
    held: usize,
    ends: Option<Instant>,
}

/// Speaks with the caller until either has enough.
///
/// # Errors
/// Why the connection was closed, when it was not the caller's wish or the server's stop.
pub(super) async fn converse<S: Stream>(
    shared: &Arc<Shared>,
    stream: TlsStream<S>,
    caller: Caller,
    stop: &CancellationToken,
) -> Result<(), String> {
    let limits = &shared.limits;
    let allowed = match &caller {
        Caller::Peer(_) => Allowance {
            frame: limits.frame,
            in_flight: limits.in_flight,
            held: limits.held,
            ends: None,
        },
        Caller::Stranger(_) => Allowance {
            frame: limits.stranger_frame,
            in_flight: limits.stranger_in_flight,
            held: limits.stranger_frame * limits.stranger_in_flight * 2,
            ends: Some(Instant::now() + limits.stranger_life),
        },
    };
    let (read, write) = tokio::io::split(stream);
    // Room for all answers that can be due, so that few ever wait here.
    let (answers, queue) = mpsc::channel(allowed.in_flight + 16);
    let conversation = Conversation {
        shared,
        caller: Arc::new(caller),
        slots: Arc::new(Semaphore::new(allowed.in_flight)),
        room: Arc::new(Semaphore::new(allowed.held)),
        allowed,
        answers,
        working: JoinSet::new(),
        last: 0,
    };
    let pace = Pace { keep_alive: limits.keep_alive, silence: limits.silence };
    let mut reader = FrameReader::new(read, conversation.allowed.frame, limits.silence);
    let ended = {
        let writing = pin!(write_frames(write, queue, pace, |_| true));
        let reading = pin!(conversation.run(&mut reader, stop));
        match select(reading, writing).await {
            Either::Left((ended, writing)) => {
                // The last words are still to be written.
                let _ = timeout(limits.linger.min(limits.silence), writing).await;
                ended
            }
            Either::Right((written, _)) => {
                return written.map_err(|error| crate::error::io_words(&error));
            }
        }
    };
    // Bytes that nobody read when a connection is closed would make the system take back what was written last.
    let _ = timeout(limits.linger.min(limits.silence), reader.drain()).await;
    ended
}

struct Conversation<'a> {
    shared: &'a Arc<Shared>,
    caller: Arc<Caller>,
    allowed: Allowance,
    /// One for each request that may be worked on.
    slots: Arc<Semaphore>,
    /// One for each byte that may be held.
    room: Arc<Semaphore>,
    answers: mpsc::Sender<Outgoing>,
    working: JoinSet<()>,
    /// The highest number of a request so far.
    last: u64,
}

impl Conversation<'_> {
    async fn run<S: Stream>(
        mut self,
        reader: &mut FrameReader<ReadHalf<TlsStream<S>>>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        if let Err(refused) = self.admitted() {
            return self.part(refused).await;
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (frame, in_flight) = (count(self.allowed.frame), count(self.allowed.in_flight));
        self.say(Frame::Hello { version: VERSION, frame, in_flight }).await;
        let ends = self.allowed.ends;
        loop {
            let frame = tokio::select! {
                biased;
                () = stop.cancelled() => return self.finish(reader).await,
                () = until(ends) => {
                    let words = "a connection without a certificate is closed after a while";
                    return self.part(Refused::new(Code::NOT_ALLOWED, words)).await;
                }
                frame = reader.next() => frame,
            };
            match frame {
                Ok(Some(frame)) => self.on_frame(frame, stop).await?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let words = error.to_string();
                    return self.part(Refused::new(Code::PROTOCOL, words)).await;
                }
            }
            // The answer to the last frame may have waited for room.
            reader.was_away();
        }
    }

    /// The server stops: no new requests, and those that are being worked on may finish, for a while.
    async fn finish<R: AsyncRead + Unpin>(
        mut self,
        reader: &mut FrameReader<R>,
    ) -> Result<(), String> {
        let stopping = || Refused::new(Code::STOPPING, "the server stops");
        self.goodbye(stopping()).await;
        let ends = Instant::now() + self.shared.limits.linger;
        while !self.working.is_empty() {
            tokio::select! {
                () = sleep_until(ends) => break,
                _ = self.working.join_next() => {}
                frame = reader.next() => match frame {
                    Ok(Some(Frame::Request { id, .. })) => {
                        self.say(Frame::Refusal { id, refused: stopping() }).await;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
        Ok(())
    }

    async fn on_frame(&mut self, frame: Frame, stop: &CancellationToken) -> Result<(), String> {
        if let Frame::Request { id, .. } = &frame {
            self.last = self.last.max(*id);
        }
        // Also when the caller only says that it is alive: who was removed is not kept.
        if let Err(refused) = self.admitted() {
            if let Frame::Request { id, .. } = frame {
                self.say(Frame::Refusal { id, refused: refused.clone() }).await;
            }
            self.goodbye(refused.clone()).await;
            return Err(refused.words);
        }
        match frame {
            Frame::Request { id, method, limit_ms, body } => {
                self.on_request(id, method, limit_ms, body, stop).await;
                Ok(())
            }
            Frame::Alive => Ok(()),
            _ => {
                let refused = Refused::new(Code::PROTOCOL, "only a server sends such a frame");
                self.goodbye(refused.clone()).await;
                Err(refused.words)
            }
        }
    }

    fn admitted(&self) -> Result<(), Refused> {
        let Some(peer) = self.caller.peer() else { return Ok(()) };
        if peer.is_expired(self.shared.tls.now()) {
            let words = "the certificate that this connection was made with has expired";
            return Err(Refused::new(Code::NOT_ADMITTED, words));
        }
        (self.shared.admit)(peer).map_err(|words| Refused::new(Code::NOT_ADMITTED, words))
    }

    async fn on_request(
        &mut self,
        id: u64,
        method: Method,
        limit_ms: u32,
        body: Bytes,
        stop: &CancellationToken,
    ) {
        while self.working.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let words = format!("{} requests are being worked on already", self.allowed.in_flight);
            return self.say(refusal(id, Code::BUSY, &words)).await;
        };
        // No more is read until there is room.
        let held = tokio::select! {
            held = take_room(&self.room, self.allowed.held, body.len()) => held,
            () = stop.cancelled() => {
                return self.say(refusal(id, Code::STOPPING, "the server stops")).await;
            }
        };
        let limit = Duration::from_millis(limit_ms.into()).min(self.shared.limits.longest_call);
        let (shared, caller) = (Arc::clone(self.shared), Arc::clone(&self.caller));
        let (room, answers) = (Arc::clone(&self.room), self.answers.clone());
        let (largest, share) = (self.allowed.frame, self.allowed.held);
        self.working.spawn(async move {
            let frame = answer(&shared, &caller, id, method, body, limit, largest).await;
            drop(held);
            let room = take_room(&room, share, frame.body_len()).await;
            // The writer is gone when the connection is: then nobody waits for the answer.
            let _ = answers.send(Outgoing { frame, room }).await;
            drop(slot);
        });
    }

    /// The last words. What was being worked on is given up.
    async fn part(self, refused: Refused) -> Result<(), String> {
        self.goodbye(refused.clone()).await;
        Err(refused.words)
    }

    async fn goodbye(&self, refused: Refused) {
        self.say(Frame::Goodbye { last: self.last, refused }).await;
    }

    async fn say(&self, frame: Frame) {
        // It fails when the writer is gone, and then the connection is ending anyway.
        let _ = self.answers.send(frame.into()).await;
    }
}

/// What the handler says, or what became of it.
async fn answer(
    shared: &Shared,
    caller: &Caller,
    id: u64,
    method: Method,
    body: Bytes,
    limit: Duration,
    largest: usize,
) -> Frame {
    let handled = AssertUnwindSafe(shared.handler.handle(caller.peer(), method, body));
    match timeout(limit, handled.catch_unwind()).await {
        Ok(Ok(Ok(body))) if body.len() + MAX_HEAD > largest => {
            let words = format!("the answer of {} bytes is too large to be sent", body.len());
            refusal(id, Code::ANSWER_TOO_LARGE, &words)
        }
        Ok(Ok(Ok(body))) => Frame::Answer { id, body },
        Ok(Ok(Err(refused))) => {
            Frame::Refusal { id, refused: Refused::new(refused.code, refused.words) }
        }
        Ok(Err(_panic)) => {
            tracing::error!(method = method.0, caller = %caller.name(), "a request's handler panicked");
            refusal(id, Code::INTERNAL, "the server failed at it; its log says more")
        }
        Err(_) => refusal(id, Code::DEADLINE, &format!("not done within {limit:?}")),
    }
}

fn refusal(id: u64, code: Code, words: &str) -> Frame {
    Frame::Refusal { id, refused: Refused::new(code, words) }
}

/// Waits until so many bytes more may be held. One body alone is never too large.
async fn take_room(
    room: &Arc<Semaphore>,
    share: usize,
    bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes.min(share)).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    Arc::clone(room).acquire_many_owned(permits).await.ok()
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
