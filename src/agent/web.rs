//! How the agent's HTTP faces speak: plainly on loopback, over TLS elsewhere, or as the configuration says.

use std::net::IpAddr;
use std::path::PathBuf;

use identity::{Clock, Credentials, WebTls};
use model::NodeId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Settings, Speech, speech};
use crate::directory::TlsFile;
use crate::fleet::{self, Alone, Fleet, Own};

/// The faces' TLS, where they speak it.
pub(crate) struct Web {
    pub(crate) http: Option<WebTls>,
    pub(crate) catalog: Option<WebTls>,
    /// What callers on this machine need.
    pub(crate) file: Option<TlsFile>,
}

impl Web {
    /// Decides how the faces speak, and shows the certificate of the fleet, of the organisation's own authority, or, for
    /// an agent that is alone, of one that is made for it. Certificates are renewed in place until `stop`.
    ///
    /// # Errors
    /// When there is TLS to speak and no certificate that can be used.
    pub(crate) fn open(
        settings: &Settings,
        node: NodeId,
        fleet: Option<&Fleet>,
        own: Option<Own>,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let said = settings.faces;
        let http = speaks("the API", settings.http.ip(), said.http);
        let catalog = speaks("the catalog", settings.catalog.ip(), said.catalog);
        let tls_dir = settings.data_dir.join("tls");
        let files = match &own {
            Some(own) => [own.authority_file(), own.certificate_file(), own.key_file()]
                .map(|path| path.to_owned()),
            None => ["ca.pem", "node.pem", "node.key"].map(|name| tls_dir.join(name)),
        };
        let held = own.as_ref().map(|own| own.credentials.clone());
        if let Some(own) = own {
            tasks.spawn(own.keep(stop.clone()));
        }
        if !(http || catalog) {
            return Ok(Self { http: None, catalog: None, file: None });
        }
        let clock = Clock::system();
        let (credentials, files) = match (held, fleet) {
            (Some(held), _) => (held, files),
            (None, Some(fleet)) => (fleet.credentials(), files),
            (None, None) => {
                let addresses = fleet::reached_at(settings, fleet::advertised(settings));
                let alone =
                    Alone::open(&settings.data_dir, node, &settings.name, addresses, &clock)?;
                let files =
                    ["ca.pem", "node.pem", "node.key"].map(|name| tls_dir.join("alone").join(name));
                tracing::info!(
                    "HTTP speaks TLS by an authority of this agent alone; elsewhere, commands take its certificate with \
                     -ca-cert: {}",
                    files[0].display()
                );
                let credentials = alone.credentials.clone();
                tasks.spawn(alone.keep(stop.clone()));
                (credentials, files)
            }
        };
        let web = |speaks: bool| -> anyhow::Result<Option<WebTls>> {
            let made = speaks.then(|| WebTls::new(&credentials, said.certified, clock.clone()));
            Ok(made.transpose()?)
        };
        let file = TlsFile::new(http, catalog, files, server_name(&credentials));
        Ok(Self { http: web(http)?, catalog: web(catalog)?, file: Some(file) })
    }
}

/// A name that the certificate has whatever its addresses.
fn server_name(credentials: &Credentials) -> Option<String> {
    credentials.peer()?.names.into_iter().next()
}

fn speaks(what: &str, address: IpAddr, said: Option<bool>) -> bool {
    match speech(address, said) {
        Speech::Plain => false,
        Speech::InTheOpen => {
            tracing::warn!(
                "{what} on {address} speaks plain HTTP beyond this machine, as `tls` in the configuration says: whoever is \
                 on the way can read and change what goes over it"
            );
            false
        }
        Speech::Tls => true,
    }
}

impl TlsFile {
    fn new(http: bool, catalog: bool, files: [PathBuf; 3], server_name: Option<String>) -> Self {
        let [ca_file, cert_file, key_file] = files;
        Self { http, catalog, ca_file, cert_file, key_file, server_name }
    }
}
