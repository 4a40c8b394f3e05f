//! What is told of an error of the client.

use redis::{ErrorKind, RedisError};

use super::secret::Secret;
use crate::backplane::contract::BackplaneError;

/// What went wrong, without the password.
pub(super) fn explain(error: &RedisError, secret: &Secret) -> BackplaneError {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => secret.scrub(&format!("{code} {detail}")),
        _ => secret.scrub(&error.to_string()),
    };
    match error.kind() {
        ErrorKind::InvalidClientConfig => BackplaneError::Settings(text),
        ErrorKind::Server(_)
        | ErrorKind::Extension
        | ErrorKind::AuthenticationFailed
        | ErrorKind::RESP3NotSupported => BackplaneError::Refused(text),
        _ => BackplaneError::Connection(with_hint(text)),
    }
}

/// Says which setting helps where TLS fails for want of it.
fn with_hint(text: String) -> String {
    let hints = [
        ("UnknownIssuer", "RedisTls::authority sets whom to trust"),
        ("CertificateRequired", "RedisTls::client_certificate sets what the server is shown"),
    ];
    match hints.iter().find(|(sign, _)| text.contains(sign)) {
        Some((_, hint)) => format!("{text} ({hint})"),
        None => text,
    }
}
