//! Answers that are handed to another agent piece by piece, because they are large or have no end.
//!
//! A body waits here for the agent that asked for it, which asks for one piece after the other; nothing is read ahead. So
//! whoever reads slowly holds up the reading, not this agent's memory, and a body that nobody asks for any more is let go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use model::NodeId;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::messages::{HttpPiece, MoreRequest};

/// The size of a piece.
pub(crate) const PIECE: usize = 256 << 10;
/// How long the first piece is waited for: the head of the answer must not wait for a task to say something.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long a later one is waited for before an empty one is handed out.
pub(crate) const WAIT: Duration = Duration::from_secs(10);
/// How long is collected once there is something, so that a piece is more than a line.
const LINGER: Duration = Duration::from_millis(20);
/// A body that was not asked for in so long is let go.
const IDLE: Duration = Duration::from_secs(20);
/// How often that is looked after.
const SWEEP: Duration = Duration::from_secs(2);
/// Most bodies that wait at once.
const MOST: usize = 256;

/// The bodies that wait.
#[derive(Default)]
pub(crate) struct OpenBodies(Mutex<BTreeMap<Uuid, Arc<OpenBody>>>);

struct OpenBody {
    /// Who asked for it; nobody else gets any of it.
    asker: Option<NodeId>,
    used: Mutex<Instant>,
    reading: tokio::sync::Mutex<Reading>,
}

/// A body, and how far it was handed out.
#[derive(Default)]
struct Reading {
    body: Option<BodyDataStream>,
    /// Read, and too much for the last piece.
    left: Bytes,
    /// What the next piece has so far. Not lost where whoever asked for it goes before it is done.
    piece: BytesMut,
    number: u64,
    last: HttpPiece,
}

impl OpenBodies {
    /// The first piece of a body, and what the rest is to be asked for by, if there may be one.
    pub(crate) async fn begin(
        &self,
        asker: Option<NodeId>,
        body: Body,
    ) -> Result<(Vec<u8>, Option<Uuid>), String> {
        let body = Some(body.into_data_stream());
        let mut reading = Reading { body, ..Reading::default() };
        let piece = reading.next(FIRST_WAIT).await;
        if let Some(broken) = piece.broken {
            return Err(broken);
        }
        if piece.over {
            return Ok((piece.body, None));
        }
        let rest = Uuid::new_v4();
        let used = Mutex::new(Instant::now());
        let open = OpenBody { asker, used, reading: tokio::sync::Mutex::new(reading) };
        let mut all = self.all();
        if all.len() >= MOST {
            return Err(format!(
                "this agent hands out {MOST} answers piece by piece already; try again in a moment"
            ));
        }
        all.insert(rest, Arc::new(open));
        Ok((piece.body, Some(rest)))
    }

    /// The piece that is asked for, once there is one.
    pub(crate) async fn more(
        &self,
        asker: Option<NodeId>,
        request: &MoreRequest,
    ) -> Result<HttpPiece, String> {
        let gone = || "the rest of this answer was not asked for in time and is gone".to_owned();
        let open = self.all().get(&request.rest).cloned();
        let open = open.filter(|open| open.asker == asker).ok_or_else(gone)?;
        if request.ended {
            self.all().remove(&request.rest);
            return Ok(HttpPiece { over: true, ..HttpPiece::default() });
        }
        let mut reading = open.reading.lock().await;
        if request.number == reading.number + 1 {
            reading.last = reading.next(WAIT).await;
            reading.number += 1;
        } else if request.number != reading.number {
            return Err("pieces of an answer are asked for one after the other".to_owned());
        }
        *open.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(reading.last.clone())
    }

    /// Lets go what nobody asks for, and all of it at the end.
    pub(crate) async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(SWEEP) => {}
            }
            let now = Instant::now();
            self.all().retain(|_, open| {
                let used = *open.used.lock().unwrap_or_else(PoisonError::into_inner);
                // Whoever waits for a piece has it too.
                Arc::strong_count(open) > 1 || now.duration_since(used) < IDLE
            });
        }
        self.all().clear();
    }

    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Arc<OpenBody>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// What comes next: up to a piece, as soon as there is something, or nothing after this wait.
    async fn next(&mut self, wait: Duration) -> HttpPiece {
        let mut deadline = Instant::now() + wait;
        let mut broken = None;
        loop {
            let room = PIECE.saturating_sub(self.piece.len());
            self.piece.extend_from_slice(&self.left.split_to(self.left.len().min(room)));
            if self.piece.len() >= PIECE {
                break;
            }
            let Some(body) = &mut self.body else { break };
            let Ok(next) = timeout_at(deadline, body.next()).await else { break };
            match next {
                Some(Ok(bytes)) => {
                    if self.piece.is_empty() {
                        deadline = deadline.min(Instant::now() + LINGER);
                    }
                    self.left = bytes;
                }
                Some(Err(error)) => {
                    self.body = None;
                    broken = Some(error.to_string());
                }
                None => self.body = None,
            }
        }
        let over = self.body.is_none() && self.left.is_empty();
        HttpPiece { body: std::mem::take(&mut self.piece).into(), over, broken }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn ask(rest: Uuid, number: u64) -> MoreRequest {
        MoreRequest { rest, number, ended: false }
    }

    #[tokio::test]
    async fn what_is_small_is_whole_at_once() {
        let open = OpenBodies::default();
        assert_eq!(open.begin(None, Body::from("all")).await, Ok((b"all".to_vec(), None)));
        assert_eq!(open.begin(None, Body::empty()).await, Ok((Vec::new(), None)));
        assert!(open.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_large_comes_in_pieces_and_each_again_if_it_was_lost() {
        let open = OpenBodies::default();
        let whole: Vec<u8> = (0..PIECE * 2 + 7).map(|at| (at % 251) as u8).collect();
        let (mut got, rest) = open.begin(None, Body::from(whole.clone())).await.expect("begins");
        let rest = rest.expect("more");
        let mut number = 0;
        loop {
            number += 1;
            let piece = open.more(None, &ask(rest, number)).await.expect("a piece");
            assert!(piece.body.len() <= PIECE);
            assert_eq!(open.more(None, &ask(rest, number)).await, Ok(piece.clone()));
            assert!(open.more(None, &ask(rest, number + 2)).await.is_err(), "none is left out");
            got.extend(piece.body);
            if piece.over {
                break;
            }
        }
        assert_eq!(got, whole);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_is_handed_on_as_it_comes() {
        let open = OpenBodies::default();
        let (says, hears) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(4);
        let body = stream::unfold(hears, |mut hears| async {
            let next = hears.recv().await?;
            Some((next, hears))
        });
        let node = Some(NodeId::new(Uuid::new_v4()));
        let (first, rest) = open.begin(node, Body::from_stream(body)).await.expect("begins");
        let rest = rest.expect("no end yet");
        assert!(first.is_empty());
        says.send(Ok("one\n".into())).await.expect("taken");
        let piece = open.more(node, &ask(rest, 1)).await.expect("a piece");
        assert_eq!((&piece.body[..], piece.over), (&b"one\n"[..], false));
        assert!(open.more(None, &ask(rest, 2)).await.is_err(), "it is for the one that asked");
        let silence = open.more(node, &ask(rest, 2)).await.expect("a piece");
        assert_eq!(silence, HttpPiece::default(), "nothing for a while");
        says.send(Err(std::io::Error::other("the disk is gone"))).await.expect("taken");
        let piece = open.more(node, &ask(rest, 3)).await.expect("a piece");
        assert!(piece.over && piece.broken.is_some_and(|why| why.contains("the disk is gone")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_let_go() {
        let open = Arc::new(OpenBodies::default());
        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(Arc::clone(&open).sweep(stop.clone()));
        let endless = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let (_, left) = open.begin(None, endless()).await.expect("begins");
        let (_, given_up) = open.begin(None, endless()).await.expect("begins");
        let bye = MoreRequest { rest: given_up.expect("open"), number: 1, ended: true };
        open.more(None, &bye).await.expect("noted");
        assert_eq!(open.all().len(), 1);
        tokio::time::sleep(IDLE / 2).await;
        assert_eq!(open.more(None, &ask(left.expect("open"), 1)).await, Ok(HttpPiece::default()));
        tokio::time::sleep(IDLE / 2).await;
        assert_eq!(open.all().len(), 1, "it was asked for meanwhile");
        tokio::time::sleep(IDLE * 2).await;
        assert!(open.all().is_empty());
        let many = (0..MOST).map(|_| open.begin(None, endless()));
        for begun in futures_util::future::join_all(many).await {
            begun.expect("begins");
        }
        assert!(open.begin(None, endless()).await.is_err(), "there is a limit");
        stop.cancel();
        sweeping.await.expect("ends");
        assert!(open.all().is_empty(), "none outlives the agent");
    }
}
