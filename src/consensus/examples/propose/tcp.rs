//! Members over loopback TCP, as plainly as it can be done: no keys, one connection for small and one for large
//! requests, answers in any order.
//!
//! A frame: number of the request (8 bytes, little-endian), length (4), kind (1), body.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use consensus::{Consensus, MAX_MESSAGE_BYTES, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const REQUEST: u8 = 0;
const ANSWER: u8 = 1;
const REFUSAL: u8 = 2;
/// Frames that wait to be written.
const QUEUE: usize = 4_096;

struct Frame {
    number: u64,
    kind: u8,
    body: Bytes,
}

async fn read_frame(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Frame> {
    let number = from.read_u64_le().await?;
    let length = from.read_u32_le().await? as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other("too large a frame"));
    }
    let kind = from.read_u8().await?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Frame { number, kind, body: body.into() })
}

/// Writes what comes; flushes when nothing more waits.
async fn write_frames(to: OwnedWriteHalf, mut frames: mpsc::Receiver<Frame>) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(64 << 10, to);
    while let Some(first) = frames.recv().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            to.write_u64_le(frame.number).await?;
            to.write_u32_le(u32::try_from(frame.body.len()).unwrap_or(u32::MAX)).await?;
            to.write_u8(frame.kind).await?;
            to.write_all(&frame.body).await?;
            next = frames.try_recv().ok();
        }
        to.flush().await?;
    }
    Ok(())
}

/// Answers requests until the listener fails.
pub(crate) async fn serve(listener: TcpListener, node: Consensus) {
    while let Ok((stream, _)) = listener.accept().await {
        let node = node.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let (from, to) = stream.into_split();
            let (frames, queue) = mpsc::channel(QUEUE);
            tokio::spawn(write_frames(to, queue));
            let mut from = BufReader::with_capacity(64 << 10, from);
            while let Ok(frame) = read_frame(&mut from).await {
                let (node, frames) = (node.clone(), frames.clone());
                tokio::spawn(async move {
                    let (kind, body) = match node.answer(frame.body).await {
                        Ok(answer) => (ANSWER, answer),
                        Err(error) => (REFUSAL, error.to_string().into()),
                    };
                    let _ = frames.send(Frame { number: frame.number, kind, body }).await;
                });
            }
        });
    }
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Frame>>>>;

/// A connection, and who waits for an answer on it.
#[derive(Clone)]
struct Line {
    frames: mpsc::Sender<Frame>,
    waiting: Waiting,
}

/// Connections by address and class.
#[derive(Default)]
pub(crate) struct Tcp {
    lines: Mutex<HashMap<(String, bool), Line>>,
    numbers: AtomicU64,
}

impl Tcp {
    async fn line(&self, address: &str, bulk: bool) -> io::Result<Line> {
        let key = (address.to_owned(), bulk);
        let known = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(line) = known.filter(|line| !line.frames.is_closed()) {
            return Ok(line);
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let (frames, queue) = mpsc::channel(QUEUE);
        let waiting = Waiting::default();
        let line = Line { frames, waiting: waiting.clone() };
        tokio::spawn(async move {
            let mut from = BufReader::with_capacity(64 << 10, from);
            tokio::select! {
                _ = write_frames(to, queue) => {}
                () = async {
                    while let Ok(frame) = read_frame(&mut from).await {
                        let waiter = waiting
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .remove(&frame.number);
                        if let Some(waiter) = waiter {
                            let _ = waiter.send(frame);
                        }
                    }
                } => {}
            }
            // Whoever waits learns that the line broke.
            waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).insert(key, line.clone());
        Ok(line)
    }
}

#[async_trait]
impl Transport for Tcp {
    async fn send(
        &self,
        address: &str,
        bulk: bool,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut waiting: Option<Waiting> = None;
        let exchange = async {
            let line = self
                .line(address, bulk)
                .await
                .map_err(|error| TransportError::Unreachable(error.to_string()))?;
            let (done, answer) = oneshot::channel();
            line.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, done);
            waiting = Some(line.waiting.clone());
            line.frames
                .send(Frame { number, kind: REQUEST, body: request })
                .await
                .map_err(|_| TransportError::NoAnswer("the line broke".to_owned()))?;
            answer.await.map_err(|_| TransportError::NoAnswer("the line broke".to_owned()))
        };
        let result = timeout(limit, exchange).await;
        if let Some(waiting) = waiting {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        }
        let frame = result.map_err(|_| TransportError::NoAnswer("too late".to_owned()))??;
        match frame.kind {
            ANSWER => Ok(frame.body),
            _ => Err(TransportError::Refused(String::from_utf8_lossy(&frame.body).into_owned())),
        }
    }
}
