//! The side that calls.

mod calls;
mod connection;
mod slot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use identity::ClientTls;
use tokio::time::{Instant, timeout_at};

use crate::{CallError, Class, ClientLimits, Code, Dial, Method, Tcp};
use connection::{Failed, NoConnection};
use slot::Slot;

/// So many addresses are remembered; beyond it, those without a connection are forgotten.
const REMEMBERED: usize = 1024;
/// How often a call whose connection turned out to be gone, before the request was sent, is tried anew.
const ATTEMPTS: usize = 3;

/// Calls servers. Clones are one client and share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    dialer: slot::Dialer,
    control: Mutex<Slots>,
    bulk: Mutex<Slots>,
}

/// By address.
type Slots = HashMap<Arc<str>, Arc<Slot>>;

impl Client {
    /// Over the network, with the default limits.
    pub fn new(tls: ClientTls) -> Self {
        Self::with(tls, ClientLimits::default(), Arc::new(Tcp))
    }

    /// With limits of one's own, or over a network of a test's own.
    pub fn with(tls: ClientTls, limits: ClientLimits, dial: Arc<dyn Dial>) -> Self {
        let dialer = slot::Dialer::new(tls, limits, dial);
        Self(Arc::new(Inner { dialer, control: Mutex::default(), bulk: Mutex::default() }))
    }

    /// Asks the server at `address` (`host:port`) and waits for its answer for at most `limit`, connecting included. A
    /// call that is dropped is forgotten.
    ///
    /// # Errors
    /// Why there is no answer. [`CallError::may_have_been_carried_out`] says whether it is safe to ask again.
    pub async fn call(
        &self,
        address: &str,
        class: Class,
        method: Method,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let until = Instant::now() + limit;
        let timed_out = |sent| CallError::Timeout { address: address.to_owned(), limit, sent };
        let slot = self.slot(address, class);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let connected = timeout_at(until, slot.connection(&self.0.dialer, address));
            let connection = match connected.await {
                Err(_) => return Err(timed_out(false)),
                Ok(Err(NoConnection::Unreachable(detail))) => {
                    return Err(CallError::Unreachable { address: address.to_owned(), detail });
                }
                Ok(Err(NoConnection::Refused(refused))) => {
                    return Err(CallError::Refused { address: address.to_owned(), refused });
                }
                Ok(Ok(connection)) => connection,
            };
            let failed = match connection.call(method, body.clone(), until).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let address = address.to_owned();
            last = Some(match failed {
                // The server looked at its clock before we looked at ours.
                Failed::Refused(refused) if refused.code == Code::DEADLINE => {
                    return Err(timed_out(true));
                }
                Failed::Refused(refused) => return Err(CallError::Refused { address, refused }),
                Failed::TooLarge { size, limit } => {
                    return Err(CallError::TooLarge { address, size, limit });
                }
                Failed::Timeout { sent } => return Err(timed_out(sent)),
                Failed::Broken { detail, sent: true } => {
                    return Err(CallError::Broken { address, detail, sent: true });
                }
                // An idle connection had just been closed by the other side: nothing was asked.
                Failed::Broken { detail, sent: false } => {
                    CallError::Broken { address, detail, sent: false }
                }
            });
        }
        Err(last.unwrap_or_else(|| timed_out(false)))
    }

    fn slot(&self, address: &str, class: Class) -> Arc<Slot> {
        let slots = match class {
            Class::Control => &self.0.control,
            Class::Bulk => &self.0.bulk,
        };
        let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(address) {
            return Arc::clone(slot);
        }
        if slots.len() >= REMEMBERED {
            slots.retain(|_, slot| slot.is_in_use());
        }
        Arc::clone(slots.entry(Arc::from(address)).or_default())
    }
}
