//! TLS with an agent: whose certificate is believed, and what is shown.

use std::fmt;

use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::error::ClientError;

/// How to speak TLS. Empty: the public authorities are believed, and nothing is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) of the authorities that are believed instead of the public ones.
    pub authority: Option<String>,
    /// A certificate (PEM, with those between it and its authority) and its key, to show.
    pub shown: Option<(String, String)>,
    /// The name that the agent's certificate must be for, if not its address.
    pub server_name: Option<String>,
    /// Whether anybody's certificate will do.
    pub skip_verify: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("skip_verify", &self.skip_verify)
            .finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn config(&self) -> Result<TlsConfig, ClientError> {
        let mut config = TlsConfig::builder().disable_verification(self.skip_verify);
        if let Some(authority) = &self.authority {
            let found = certificates(authority, "the authority's certificate")?;
            config = config.root_certs(RootCerts::new_with_certs(&found));
        }
        if let Some((certificate, key)) = &self.shown {
            let chain = certificates(certificate, "the certificate to show")?;
            let key = PrivateKey::from_pem(key.as_bytes())
                .map_err(|_| unreadable("the key of the certificate to show"))?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(config.build())
    }
}

fn certificates(text: &str, what: &str) -> Result<Vec<Certificate<'static>>, ClientError> {
    let mut found = Vec::new();
    for item in parse_pem(text.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| unreadable(what))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(unreadable(what)) } else { Ok(found) }
}

fn unreadable(what: &str) -> ClientError {
    ClientError::Certificate { what: what.to_owned() }
}

/// Finds the agent where it is, whatever name its certificate is for.
#[derive(Debug)]
pub(crate) struct Named {
    /// Where the agent is.
    pub(crate) real: Uri,
}

impl Resolver for Named {
    fn resolve(
        &self,
        _: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        DefaultResolver::default().resolve(&self.real, config, timeout)
    }
}

/// What went wrong with TLS, in words, and what to do; `None` if it was something else.
pub(crate) fn words(error: &ureq::Error) -> Option<String> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    use rustls::{AlertDescription as Alert, CertificateError as Wrong, Error};
    Some(match error {
        Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature) => {
            "its certificate is of an authority that is not known here. Give the authority's certificate with -ca-cert \
             FILE or HERDER_CACERT: it is ca.pem in tls/ of an agent's data directory (the agent's own user needs no flag \
             on its machine)"
                .to_owned()
        }
        Error::InvalidCertificate(
            wrong @ (Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }),
        ) => format!(
            "its certificate is for other names and addresses ({wrong}). Ask it by one of those, or say which one to \
             expect with -tls-server-name or HERDER_TLS_SERVER_NAME, such as its node's name"
        ),
        Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => {
            "its certificate has expired (or the clocks differ)".to_owned()
        }
        Error::InvalidCertificate(Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) => {
            "its certificate is not good yet (do the clocks differ?)".to_owned()
        }
        Error::AlertReceived(Alert::CertificateRequired) => {
            "it wants to see a certificate of its authority: -client-cert and -client-key (`herder tls cert create -cli` \
             makes one)"
                .to_owned()
        }
        Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::DecryptError),
        ) => format!("it does not accept the certificate that was shown ({alert:?})"),
        Error::InvalidMessage(_) => {
            "it does not speak TLS: begin the address with http://".to_owned()
        }
        other => other.to_string(),
    })
}
