//! The negotiation of permessage-deflate (RFC 7692, sections 5 and 7.1).
//!
//! A client sends a list of offers. The server takes the first offer that it can satisfy. It answers
//! `client_no_context_takeover` to every offer, because a thread has one inflater for all its
//! connections. It answers the other parameters only as they were offered.

use std::mem;

use hyper::header::HeaderValue;

use super::extensions::{self, Malformed, Param, Part};
use crate::engine::{ClientInflater, WINDOW_BITS_MAX};

const NAME: &str = "permessage-deflate";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";

/// An offer that the server has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreement {
    keeps_window: bool,
    /// The largest window of the server's messages, if the client has bounded it.
    server_bits: Option<u8>,
}

impl Agreement {
    /// Returns how the client inflates messages.
    pub(crate) fn inflater(self) -> ClientInflater {
        ClientInflater::new(self.server_bits.unwrap_or(WINDOW_BITS_MAX), self.keeps_window)
    }

    /// Returns the `Sec-WebSocket-Extensions` of the response.
    pub(crate) fn answer(self) -> HeaderValue {
        let mut answer = format!("{NAME}; {CLIENT_NO_CONTEXT_TAKEOVER}");
        if !self.keeps_window {
            answer = format!("{answer}; {SERVER_NO_CONTEXT_TAKEOVER}");
        }
        if let Some(bits) = self.server_bits {
            answer = format!("{answer}; {SERVER_MAX_WINDOW_BITS}={bits}");
        }
        HeaderValue::try_from(answer).expect("names and numbers are visible ASCII")
    }
}

/// Returns the first acceptable offer in the values of `Sec-WebSocket-Extensions`, in their order.
///
/// Cost: one pass over the values, without an allocation.
///
/// # Errors
/// A value breaks the grammar. The handshake must fail (RFC 6455, section 9.1), even if an offer
/// before was acceptable.
pub(crate) fn negotiate<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Agreement>, Malformed> {
    let mut accepted = None;
    let mut offer = Offer::default();
    for value in values {
        extensions::each(value, |part| match part {
            Part::Name(name) => offer = Offer::of(name),
            Part::Param(param) => offer.take(param),
            Part::End => accepted = accepted.or(offer.agreement()),
        })?;
    }
    Ok(accepted)
}

/// The parameters of an offer that were read so far.
#[derive(Debug, Clone, Copy, Default)]
struct Offer {
    is_acceptable: bool,
    saw_no_client_takeover: bool,
    saw_no_server_takeover: bool,
    saw_client_bits: bool,
    server_bits: Option<u8>,
}

impl Offer {
    fn of(name: &[u8]) -> Self {
        Self { is_acceptable: name == NAME.as_bytes(), ..Self::default() }
    }

    fn agreement(self) -> Option<Agreement> {
        let Self { saw_no_server_takeover, server_bits, .. } = self;
        self.is_acceptable
            .then_some(Agreement { keeps_window: !saw_no_server_takeover, server_bits })
    }

    /// Reads a parameter. A parameter that is unknown, repeated or invalid declines the offer (RFC
    /// 7692, section 7.1).
    fn take(&mut self, param: Param<'_>) {
        self.is_acceptable = self.is_acceptable && self.accept_param(param);
    }

    fn accept_param(&mut self, Param { name, value }: Param<'_>) -> bool {
        let is_first = |seen: &mut bool| !mem::replace(seen, true);
        match str::from_utf8(name) {
            Ok(CLIENT_NO_CONTEXT_TAKEOVER) => {
                is_first(&mut self.saw_no_client_takeover) && value.is_none()
            }
            Ok(SERVER_NO_CONTEXT_TAKEOVER) => {
                is_first(&mut self.saw_no_server_takeover) && value.is_none()
            }
            // The window of an inflater is the largest, so any window of the client is fine.
            Ok(CLIENT_MAX_WINDOW_BITS) => {
                let is_valid = value.is_none_or(|value| value.window_bits().is_some());
                is_first(&mut self.saw_client_bits) && is_valid
            }
            Ok(SERVER_MAX_WINDOW_BITS) => {
                let bits = value.and_then(|value| value.window_bits());
                let is_first = self.server_bits.is_none();
                self.server_bits = bits;
                is_first && bits.is_some()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to the values of a header, and the inflater of the client.
    fn answered(values: &[&str]) -> Result<Option<(String, ClientInflater)>, Malformed> {
        let agreement = negotiate(values.iter().map(|value| value.as_bytes()))?;
        Ok(agreement.map(|agreement| {
            (agreement.answer().to_str().unwrap().to_owned(), agreement.inflater())
        }))
    }

    fn accepted(params: &str, bits: u8, keeps: bool) -> Option<(String, ClientInflater)> {
        let answer = format!("permessage-deflate; client_no_context_takeover{params}");
        Some((answer, ClientInflater::new(bits, keeps)))
    }

    #[test]
    fn parameters_are_answered_as_they_were_offered() {
        for (params, answer, bits, keeps) in [
            ("", "", 15, true),
            ("; client_no_context_takeover", "", 15, true),
            ("; server_no_context_takeover", "; server_no_context_takeover", 15, false),
            ("; client_max_window_bits", "", 15, true),
            ("; client_max_window_bits=8", "", 15, true),
            ("; client_max_window_bits=15", "", 15, true),
            ("; client_max_window_bits=\"10\"", "", 15, true),
            ("; server_max_window_bits=8", "; server_max_window_bits=8", 8, true),
            ("; server_max_window_bits=15", "; server_max_window_bits=15", 15, true),
            ("; server_max_window_bits=\"1\\2\"", "; server_max_window_bits=12", 12, true),
            (
                "; server_max_window_bits=10; client_max_window_bits; server_no_context_takeover",
                "; server_no_context_takeover; server_max_window_bits=10",
                10,
                false,
            ),
        ] {
            let offer = format!("permessage-deflate{params}");
            assert_eq!(answered(&[&offer]), Ok(accepted(answer, bits, keeps)), "{offer}");
        }
    }

    #[test]
    fn offers_with_unknown_repeated_or_invalid_parameters_are_declined_and_the_next_is_tried() {
        for params in [
            "unknown",
            "unknown=1",
            "Client_no_context_takeover",
            "client_no_context_takeover=true",
            "client_no_context_takeover; client_no_context_takeover",
            "server_no_context_takeover=\"1\"",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits=+9",
            "client_max_window_bits=100",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits; client_max_window_bits=9",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=1",
            "server_max_window_bits=x",
            "server_max_window_bits=10; server_max_window_bits=10",
            "server_max_window_bits=9; server_max_window_bits=10",
        ] {
            let offer = format!("permessage-deflate; {params}");
            assert_eq!(answered(&[&offer]), Ok(None), "{offer}");
            let two = format!("{offer}, permessage-deflate; server_max_window_bits=11");
            let next = accepted("; server_max_window_bits=11", 11, true);
            assert_eq!(answered(&[&two]), Ok(next.clone()), "{two}");
            let lines = [&*offer, "permessage-deflate; server_max_window_bits=11"];
            assert_eq!(answered(&lines), Ok(next), "{lines:?}");
        }
    }

    #[test]
    fn first_acceptable_offer_of_all_lines_is_taken() {
        for (lines, answer) in [
            (&["x-webkit-deflate-frame, permessage-deflate"][..], accepted("", 15, true)),
            (&["x-a; b=c; d", "permessage-deflate"], accepted("", 15, true)),
            (&["x-a; b=\"c\""], None),
            (&["Permessage-Deflate", "permessage-deflate2"], None),
            (&[], None),
            (&["", " , ,, "], None),
            (&[",permessage-deflate,"], accepted("", 15, true)),
            (&["permessage-deflate;client_max_window_bits = 9 "], accepted("", 15, true)),
            // The offers of section 7.1.3: first with a bound, then without.
            (
                &["permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                   permessage-deflate; client_max_window_bits"],
                accepted("; server_max_window_bits=10", 10, true),
            ),
            (
                &["permessage-deflate; server_no_context_takeover, permessage-deflate"],
                accepted("; server_no_context_takeover", 15, false),
            ),
        ] {
            assert_eq!(answered(lines), Ok(answer), "{lines:?}");
        }
    }

    #[test]
    fn values_that_break_the_grammar_are_malformed_even_behind_a_good_offer() {
        for value in [
            ";",
            "=",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; =1",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=1=2",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits=\"10\\",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"1 0\"",
            "permessage-deflate; client_max_window_bits=\"1\\\"0\"",
            "permessage-deflate; client_max_window_bits=\"10\"1",
            "permessage-deflate client_max_window_bits",
            "permessage deflate",
            "\"permessage-deflate\"",
            "permessage-deflate/1",
            "x-é",
            "x; y=é",
        ] {
            assert_eq!(answered(&[value]), Err(Malformed), "{value}");
            assert_eq!(answered(&["permessage-deflate", value]), Err(Malformed), "{value}");
            let list = format!("permessage-deflate, {value}");
            assert_eq!(answered(&[&list]), Err(Malformed), "{list}");
        }
    }

    #[test]
    fn thousands_of_offers_are_read() {
        let declined = "permessage-deflate; server_max_window_bits=7, ".repeat(1_000);
        assert_eq!(answered(&[&declined]), Ok(None));
        let last = format!("{declined}permessage-deflate");
        assert_eq!(answered(&[&last]), Ok(accepted("", 15, true)));
        let params = "; x".repeat(10_000);
        assert_eq!(answered(&[&format!("permessage-deflate{params}")]), Ok(None));
    }
}
