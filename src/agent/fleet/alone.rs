//! A certificate for an agent that is alone and speaks TLS all the same: of an authority that nobody else has.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use identity::{
    Authority, Clock, ClusterId, Credentials, DEFAULT_LIFETIME, Grant, NodeKey, Role, SecretText,
    Trust,
};
use model::NodeId;
use tokio_util::sync::CancellationToken;

use super::papers::Papers;

/// How often it is looked whether the certificate is to be renewed.
const LOOK: Duration = Duration::from_secs(60);

/// The certificate, and who signs the next one.
pub(crate) struct Alone {
    pub(crate) credentials: Credentials,
    authority: Authority,
    papers: Papers,
    key: NodeKey,
    grant: Grant,
    clock: Clock,
}

impl Alone {
    /// With the authority in the data directory, which is made where there is none.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub(crate) fn open(
        data_dir: &Path,
        node: NodeId,
        name: &str,
        addresses: Vec<IpAddr>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let papers = Papers::of_one_alone(data_dir)?;
        let cluster = ClusterId::new(model::seeded_uuid(&[b"alone", node.uuid().as_bytes()]));
        let authority = match papers.authority()? {
            Some(authority) if authority.not_after() > clock.now() => authority,
            _ => {
                let authority = Authority::create(cluster, clock.now())?;
                papers.store_authority_key(&SecretText::new(
                    authority.key_pem().reveal().to_owned(),
                ))?;
                papers.store_authority(&authority.certificate_pem())?;
                authority
            }
        };
        let grant = Grant {
            cluster,
            node,
            role: Role::Server,
            names: super::names_of(name, true),
            addresses,
        };
        let trust = Trust::cluster(&authority.certificate_pem(), cluster)?;
        let credentials = Credentials::empty(trust);
        let (key, clock) = (papers.key()?, clock.clone());
        let alone = Self { credentials, authority, papers, key, grant, clock };
        alone.renew()?;
        Ok(alone)
    }

    fn renew(&self) -> anyhow::Result<()> {
        let (request, now) = (self.key.request()?, self.clock.now());
        let made = self.authority.issue(&request, &self.grant, now, DEFAULT_LIFETIME)?;
        self.credentials.replace(&made, &self.key, now)?;
        self.papers.store_certificate(&made)
    }

    /// Renews the certificate in time, until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let due =
                self.credentials.peer().is_none_or(|peer| self.clock.now() >= peer.renew_at());
            if due && let Err(error) = self.renew() {
                tracing::warn!("the certificate could not be renewed: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use model::Timestamp;

    use super::*;

    #[test]
    fn its_authority_stays_and_its_certificate_is_renewed() {
        let dir = tempfile::tempdir().expect("a directory");
        crate::directory::prepare(dir.path()).expect("prepared");
        let seconds = Arc::new(AtomicU64::new(1_800_000_000));
        let told = Arc::clone(&seconds);
        let clock =
            Clock::new(move || Timestamp::ZERO + Duration::from_secs(told.load(Ordering::Relaxed)));
        let node = NodeId::new(uuid::Uuid::new_v4());
        let address = IpAddr::from([10, 0, 0, 1]);
        let open = || Alone::open(dir.path(), node, "a", vec![address], &clock).expect("opened");
        let alone = open();
        let first = alone.credentials.peer().expect("a certificate");
        assert_eq!(first.addresses, [address]);
        assert!(first.names.contains(&"localhost".to_owned()), "{:?}", first.names);
        seconds.fetch_add(3600 * 60, Ordering::Relaxed);
        assert!(clock.now() >= first.renew_at());
        alone.renew().expect("renewed");
        assert_ne!(alone.credentials.peer().expect("a certificate").serial, first.serial);
        assert_eq!(open().authority.fingerprint(), alone.authority.fingerprint());
    }
}
