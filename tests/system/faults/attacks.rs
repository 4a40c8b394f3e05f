//! The bytes that attackers send. Each attack sends a few bytes first, and then more bytes in regular beats, so that
//! its rate is known.

use std::time::Duration;

use clap::ValueEnum;

use support::scene::wire::{
    CONTINUATION, FIN, PING, RSV1, TEXT, deflated, frame, header, upgrade_request,
};

/// The header with which all browsers offer compression.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// The inflated size of a large message: below the server's bound of 64 KiB.
const LARGE_BYTES: usize = 60_000;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Empty fragments without end.
    Fragments,
    /// A frame of 2^63-1 bytes.
    HugeLength,
    /// A frame of 64 KiB: all but the last bytes come at once, the last bytes one by one.
    Trickle,
    /// Pings, 320 a second, 32 at a time.
    Pings,
    /// Pings, ten a second, one at a time.
    LawfulPings,
    /// Messages, a byte at a time.
    SlowMessages,
    /// Brackets, 30,000 deep.
    DeepJson,
    /// A handshake, a byte at a time.
    SlowHandshake,
    /// More headers than a request may have.
    ManyHeaders,
    /// A header longer than a head may be.
    LongHeader,
    /// One more header each beat, without end.
    SlowHead,
    /// Connections without a request.
    Connects,
    /// Messages that inflate from 16 KiB to 16 MiB.
    Bombs,
    /// Connections with an offer of 1 KiB of parameters.
    LongOffers,
    /// Compressed messages, ten a second, in fragments of a byte.
    CompressedBytes,
    /// Small compressed messages, 320 a second, 32 at a time.
    CompressedFlood,
    /// Messages that inflate from 100 bytes to 60 KB, 320 a second, 32 at a time.
    InflatingFlood,
    /// The same messages, two a second, one at a time.
    LawfulInflating,
}

/// The steps of an attack.
pub(crate) struct Plan {
    /// Whether the attack begins with a handshake.
    pub(crate) is_websocket: bool,
    /// The extensions that the handshake offers.
    pub(crate) offers: Option<String>,
    pub(crate) first: Vec<u8>,
    /// Sent again and again, in pieces of `piece` bytes, one piece each beat.
    pub(crate) then: Vec<u8>,
    pub(crate) piece: usize,
    pub(crate) beat: Duration,
    /// After this time the attacker itself resets the connection.
    pub(crate) stay: Option<Duration>,
}

impl Attack {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no attack is hidden").get_name().to_owned()
    }

    pub(crate) fn plan(self) -> Plan {
        let ms = Duration::from_millis;
        match self {
            Self::Fragments => {
                let more = frame(CONTINUATION & !FIN, b"").repeat(32);
                Plan::frames(frame(TEXT & !FIN, b""), more, ms(50))
            }
            Self::HugeLength => Plan::frames(header(TEXT, (1 << 63) - 1), vec![0; 1_024], ms(50)),
            Self::Trickle => {
                let mut first = header(TEXT, 64 * 1024);
                first.extend([b' '; 64 * 1024 - 300]);
                Plan::frames(first, b" ".to_vec(), ms(100))
            }
            Self::Pings => Plan::frames(vec![], frame(PING, b"ping").repeat(32), ms(100)),
            Self::LawfulPings => Plan::frames(vec![], frame(PING, b"ping"), ms(100)),
            Self::SlowMessages => {
                let message = frame(TEXT, br#"{"text":"slow"}"#);
                Plan { piece: 1, ..Plan::frames(vec![], message, ms(100)) }
            }
            Self::DeepJson => {
                let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
                Plan::frames(vec![], frame(TEXT, deep.as_bytes()), ms(500))
            }
            Self::SlowHandshake => {
                let request = upgrade_request("attack");
                Plan { piece: 1, ..Plan::head("", request.as_bytes(), ms(100)) }
            }
            Self::ManyHeaders => Plan::head("x: y\r\n".repeat(100), b"\r\n", ms(50)),
            Self::LongHeader => Plan::head("x: ", &[b'y'; 8 * 1024], ms(5)),
            Self::SlowHead => Plan::head("", b"x: y\r\n", ms(200)),
            Self::Connects => {
                let silence = Plan::frames(vec![], vec![], ms(1_000));
                Plan { is_websocket: false, stay: Some(ms(200)), ..silence }
            }
            Self::Bombs => {
                let bomb = frame(TEXT | RSV1, &deflated(&vec![b' '; 16 << 20]));
                Plan::compressed(bomb.clone(), bomb, ms(100))
            }
            Self::LongOffers => {
                let unknown: String =
                    (0..120).map(|number| format!("; p{number}={number}")).collect();
                let offers = format!("permessage-deflate{unknown}, {OFFER}");
                let silence = Plan::frames(vec![], vec![], ms(1_000));
                Plan { offers: Some(offers), stay: Some(ms(200)), ..silence }
            }
            Self::CompressedBytes => {
                let message = fragments(&deflated(SMALL));
                Plan::compressed(vec![], message, ms(100))
            }
            Self::CompressedFlood => {
                let message = frame(TEXT | RSV1, &deflated(SMALL));
                Plan::compressed(vec![], message.repeat(32), ms(100))
            }
            Self::InflatingFlood => Plan::compressed(vec![], large().repeat(32), ms(100)),
            Self::LawfulInflating => Plan::compressed(vec![], large(), ms(500)),
        }
    }
}

/// A message that the chat accepts.
const SMALL: &[u8] = br#"{"text":"a small message"}"#;

/// A message that the chat accepts, inflated to `LARGE_BYTES`.
fn large() -> Vec<u8> {
    let message = format!(r#"{{"text":"{}"}}"#, "x".repeat(LARGE_BYTES));
    frame(TEXT | RSV1, &deflated(message.as_bytes()))
}

/// A compressed message in fragments of a byte.
fn fragments(payload: &[u8]) -> Vec<u8> {
    let last = payload.len() - 1;
    let fragment = |(at, byte): (usize, &u8)| {
        let opcode = if at == 0 { TEXT & !FIN | RSV1 } else { CONTINUATION & !FIN };
        frame(if at == last { opcode | FIN } else { opcode }, &[*byte])
    };
    payload.iter().enumerate().flat_map(fragment).collect()
}

impl Plan {
    fn frames(first: Vec<u8>, then: Vec<u8>, beat: Duration) -> Self {
        let piece = then.len();
        Self { is_websocket: true, offers: None, first, then, piece, beat, stay: None }
    }

    fn compressed(first: Vec<u8>, then: Vec<u8>, beat: Duration) -> Self {
        Self { offers: Some(OFFER.to_owned()), ..Self::frames(first, then, beat) }
    }

    fn head(first: impl AsRef<str>, then: &[u8], beat: Duration) -> Self {
        // A handshake has its own request line.
        let line = if then.starts_with(b"GET") { "" } else { "GET / HTTP/1.1\r\nhost: x\r\n" };
        let first = [line, first.as_ref()].concat().into_bytes();
        Self { is_websocket: false, ..Self::frames(first, then.to_vec(), beat) }
    }
}
