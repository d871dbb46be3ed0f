//! What a request that got no answer means: whether anything was sent, and a sentence made from the kind of error
//! alone.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::{CallError, ErrorClass, Operation};

/// Classes a failed exchange. Nothing was sent if the connection could not be made (refused, no such name, no TLS).
pub(crate) fn failure(operation: Operation, error: &reqwest::Error) -> CallError {
    let cause = Cause::of(error);
    let (class, what) = if error.is_builder() {
        (ErrorClass::Invalid, "the request cannot be built".to_owned())
    } else if error.is_dns() {
        (ErrorClass::Connect, "the host's name cannot be resolved".to_owned())
    } else if error.is_connect() || cause.refused_by_alert() {
        (ErrorClass::Connect, format!("no connection: {}", cause.sentence()))
    } else if error.is_timeout() {
        (ErrorClass::Timeout, "no answer within the timeout".to_owned())
    } else {
        (ErrorClass::Broken, "the connection broke before the answer was complete".to_owned())
    };
    CallError {
        operation,
        class,
        status: None,
        retry_after: None,
        message: format!("{} failed: {what}", operation.as_str()),
    }
}

/// The innermost errors that tell something.
#[derive(Default)]
struct Cause {
    tls: Option<rustls::Error>,
    io: Option<io::ErrorKind>,
}

impl Cause {
    fn of(error: &reqwest::Error) -> Self {
        let mut cause = Self::default();
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                cause.tls = Some(tls.clone());
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                cause.io = Some(io.kind());
                // `source` of such an error skips the error inside, so it is looked at here.
                if let Some(inner) = io.get_ref() {
                    next = Some(inner);
                    continue;
                }
            }
            next = error.source();
        }
        cause
    }

    /// With TLS 1.3 a client has finished its part of the handshake, and sent its request, before the server judges
    /// the client's certificate. The alert that says no means that the server never opened the request.
    fn refused_by_alert(&self) -> bool {
        use AlertDescription as Alert;
        matches!(
            self.tls,
            Some(rustls::Error::AlertReceived(
                Alert::CertificateRequired
                    | Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
                    | Alert::HandshakeFailure
                    | Alert::ProtocolVersion
                    | Alert::UnrecognisedName
            ))
        )
    }

    fn sentence(&self) -> &'static str {
        match (&self.tls, self.io) {
            (Some(rustls::Error::InvalidCertificate(reason)), _) => certificate_sentence(reason),
            (Some(rustls::Error::AlertReceived(_)), _) => {
                "the server refused the TLS handshake (it may want a client certificate)"
            }
            (Some(_), _) => "the TLS handshake failed",
            (None, Some(io::ErrorKind::ConnectionRefused)) => "connection refused",
            (None, Some(io::ErrorKind::TimedOut)) => "connecting took too long",
            (None, Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)) => "host unreachable",
            (None, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)) => {
                "it was closed while it was being made"
            }
            _ => "it cannot be made",
        }
    }
}

fn certificate_sentence(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::UnknownIssuer => "the server's certificate is from an authority that is not trusted",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        CertificateError::Revoked => "the server's certificate is revoked",
        _ => "the server's certificate is not valid",
    }
}
