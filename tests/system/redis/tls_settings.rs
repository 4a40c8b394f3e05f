//! TLS settings for Redis: invalid settings are errors before anything connects.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use roomcast::{BackplaneError, Redis, RedisTls};

fn applied(tls: RedisTls) -> Result<Redis, BackplaneError> {
    Redis::open("rediss://host").expect("the URL can be read").tls(tls)
}

fn identity() -> (String, String) {
    let made = generate_simple_self_signed(["localhost".to_owned()]);
    let CertifiedKey { cert, signing_key } = made.expect("the certificate can be signed");
    (cert.pem(), signing_key.serialize_pem())
}

#[test]
fn valid_settings_are_accepted() {
    let (certificate, key) = identity();
    let tls =
        RedisTls::new().authority(&*certificate).client_certificate(certificate.as_str(), key);
    applied(tls).expect("all belongs together");
    applied(RedisTls::new().danger_accept_invalid_certificates())
        .expect("the danger setting is explicit");
}

#[test]
fn invalid_settings_are_errors() {
    let ((certificate, key), (_, other_key)) = (identity(), identity());
    let new = RedisTls::new;
    for (tls, word) in [
        (new().authority("garbage"), "no certificate"),
        (new().authority(&*key), "no certificate"),
        (new().authority("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"), "authority"),
        (new().client_certificate("garbage", &*key), "no certificate"),
        (new().client_certificate(&*certificate, "garbage"), "key"),
        (new().client_certificate(&*certificate, &*other_key), "key"),
        (new().authority(&*certificate).danger_accept_invalid_certificates(), "no effect"),
    ] {
        match applied(tls) {
            Err(BackplaneError::Settings(text)) => {
                assert!(text.contains(word), "{word}: {text}")
            }
            Err(other) => panic!("{word}: {other:?}"),
            Ok(_) => panic!("{word}: accepted"),
        }
    }
}

#[test]
fn tls_needs_a_url_that_asks_for_it() {
    for url in ["redis://host", "unix:///redis.sock"] {
        let redis = Redis::open(url).expect("the URL can be read");
        assert!(matches!(redis.tls(RedisTls::new()), Err(BackplaneError::Settings(_))));
    }
}

#[test]
fn key_is_not_shown() {
    let (certificate, key) = identity();
    let tls = RedisTls::new().client_certificate(certificate, &*key);
    assert_eq!(
        format!("{tls:?}"),
        "RedisTls { has_authority: false, has_client_certificate: true, \
         accepts_invalid_certificates: false }"
    );
}
