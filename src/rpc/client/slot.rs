//! The place of an address's connection: none, one being made, one, or a failure that is not repeated at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity::ClientTls;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::connection::{Connection, NoConnection};
use crate::error::io_words;
use crate::{ClientLimits, Dial};

/// What making connections takes.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Parts>);

struct Parts {
    tls: ClientTls,
    limits: ClientLimits,
    dial: Arc<dyn Dial>,
}

impl Dialer {
    pub(super) fn new(tls: ClientTls, limits: ClientLimits, dial: Arc<dyn Dial>) -> Self {
        Self(Arc::new(Parts { tls, limits, dial }))
    }

    async fn connect(&self, address: &str) -> Result<Connection, NoConnection> {
        let Parts { tls, limits, dial } = &*self.0;
        let connecting = async {
            let stream = dial.dial(address).await.map_err(|error| io_words(&error))?;
            let connector = TlsConnector::from(tls.config());
            let stream = connector
                .connect(ClientTls::server_name(), stream)
                .await
                .map_err(|error| io_words(&error))?;
            Connection::open(stream, limits).await
        };
        let limit = limits.connect;
        timeout(limit, connecting).await.unwrap_or_else(|_| {
            Err(format!("it did not take the connection within {limit:?}").into())
        })
    }

    /// Names the certificate that a connection made now shows.
    fn certificate(&self) -> Option<Arc<str>> {
        self.0.tls.serial()
    }
}

type Made = Result<Arc<Connection>, NoConnection>;

#[derive(Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Default)]
struct State {
    now: Now,
    /// Failures since the last connection.
    failures: u32,
}

#[derive(Default)]
enum Now {
    #[default]
    Nothing,
    Connecting(watch::Receiver<Option<Made>>),
    Connected {
        connection: Arc<Connection>,
        certificate: Option<Arc<str>>,
    },
    Failed {
        until: Instant,
        why: NoConnection,
    },
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something here that would be missed.
    pub(super) fn is_in_use(&self) -> bool {
        match &self.state().now {
            Now::Nothing | Now::Failed { .. } => false,
            Now::Connecting(_) => true,
            Now::Connected { connection, .. } => connection.is_open(),
        }
    }

    /// The connection, made if there is none. Callers that come while it is being made share it, and one that gives up
    /// does not take it from the others.
    ///
    /// # Errors
    /// Why there is none: of the attempt, or of one just before.
    pub(super) async fn connection(self: &Arc<Self>, dialer: &Dialer, address: &str) -> Made {
        let mut made = match self.current(dialer, address) {
            Ok(made) => return made,
            Err(connecting) => connecting,
        };
        let result = match made.wait_for(Option::is_some).await {
            Ok(made) => made.clone(),
            Err(_) => None,
        };
        result.unwrap_or_else(|| Err("this process is stopping".to_owned().into()))
    }

    /// What there is, or what to wait for.
    fn current(
        self: &Arc<Self>,
        dialer: &Dialer,
        address: &str,
    ) -> Result<Made, watch::Receiver<Option<Made>>> {
        let mut state = self.state();
        match &state.now {
            Now::Connected { connection, certificate } if connection.is_open() => {
                if *certificate == dialer.certificate() {
                    return Ok(Ok(Arc::clone(connection)));
                }
                // Calls that wait on it get their answers; new ones show the new certificate.
                connection.retire("the certificate was renewed");
            }
            Now::Connecting(made) => return Err(made.clone()),
            Now::Failed { until, why } if Instant::now() < *until => return Ok(Err(why.clone())),
            Now::Nothing | Now::Connected { .. } | Now::Failed { .. } => {}
        }
        let (tell, told) = watch::channel(None);
        state.now = Now::Connecting(told.clone());
        drop(state);
        let (slot, dialer, address) = (Arc::clone(self), dialer.clone(), address.to_owned());
        tokio::spawn(async move {
            let certificate = dialer.certificate();
            let made = dialer.connect(&address).await.map(Arc::new);
            slot.settle(&made, certificate, &dialer.0.limits);
            let _ = tell.send(Some(made));
        });
        Err(told)
    }

    fn settle(&self, made: &Made, certificate: Option<Arc<str>>, limits: &ClientLimits) {
        let mut state = self.state();
        match made {
            Ok(connection) => {
                state.failures = 0;
                state.now = Now::Connected { connection: Arc::clone(connection), certificate };
            }
            Err(why) => {
                let until = Instant::now() + back_off(state.failures, limits);
                state.failures = state.failures.saturating_add(1);
                state.now = Now::Failed { until, why: why.clone() };
            }
        }
    }
}

/// How long no attempt is made after this many failures and one more.
fn back_off(failures: u32, limits: &ClientLimits) -> Duration {
    let factor = 1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX);
    limits.back_off.saturating_mul(factor).min(limits.longest_back_off)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_grows_to_its_limit() {
        let limits = ClientLimits::default();
        let times: Vec<u128> =
            [0, 1, 2, 3, 4, 5, u32::MAX].map(|n| back_off(n, &limits).as_millis()).to_vec();
        assert_eq!(times, [50, 100, 200, 400, 800, 1000, 1000]);
    }
}
