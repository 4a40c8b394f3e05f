//! Turns an error of the Redis client into an error of the backplane.

use redis::{ErrorKind, RedisError};

use super::secret::Secret;
use crate::backplane::contract::BackplaneError;

/// Returns the error as one of the backplane, without the password.
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

/// If TLS fails because a setting is missing, adds the name of the setting.
fn with_hint(text: String) -> String {
    let hints = [
        ("UnknownIssuer", "RedisTls::authority sets the trusted authorities"),
        ("CertificateRequired", "RedisTls::client_certificate sets the certificate for the server"),
    ];
    match hints.iter().find(|(sign, _)| text.contains(sign)) {
        Some((_, hint)) => format!("{text} ({hint})"),
        None => text,
    }
}
