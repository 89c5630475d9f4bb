//! A failed handshake, for the person who meets it.

use rustls::{AlertDescription, CertificateError, Error};

/// Whether the other side does not accept what our certificate says, though it is good: its role, for one.
pub fn is_our_certificate_refused(error: &Error) -> bool {
    use AlertDescription::{AccessDenied, BadCertificate, CertificateUnknown};
    matches!(error, Error::AlertReceived(AccessDenied | BadCertificate | CertificateUnknown))
}

/// Why a handshake failed, in words. Gives the library's own where it has nothing better to say.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::Other(other) => other.0.to_string(),
            // Two authorities may have the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate was signed by another authority".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired (or the clocks differ)".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not good yet (do the clocks differ?)".to_owned()
            }
            why => format!("its certificate is not accepted: {why}"),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => {
                "the other side says that our certificate has expired (or the clocks differ)"
                    .to_owned()
            }
            AlertDescription::UnknownCA => {
                "the other side does not know the authority that signed our certificate".to_owned()
            }
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown => {
                "the other side does not accept our certificate".to_owned()
            }
            alert => format!("the other side ended the handshake: {alert:?}"),
        },
        Error::InvalidMessage(_) => "the other side does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}
