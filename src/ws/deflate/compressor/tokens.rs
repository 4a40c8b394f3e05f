//! Tokens: what deflate turns bytes into.

use super::codes::{MATCH_BYTES_MIN, Match};

/// Takes the literals and matches of a message, in order.
pub(super) trait Sink {
    fn literal(&mut self, byte: u8);
    fn matching(&mut self, found: Match);
}

/// A literal, or a match, in 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Token(u32);

/// What a token stands for.
pub(super) enum Kind {
    Literal(u8),
    Match(Match),
}

impl Token {
    const MATCH: u32 = 1 << 31;

    #[inline]
    pub(super) fn kind(self) -> Kind {
        if self.0 & Self::MATCH == 0 {
            return Kind::Literal(self.0 as u8);
        }
        let bytes = u16::from((self.0 >> 16) as u8) + MATCH_BYTES_MIN as u16;
        Kind::Match(Match { bytes, distance: self.0 as u16 })
    }
}

impl Sink for Vec<Token> {
    #[inline]
    fn literal(&mut self, byte: u8) {
        self.push(Token(byte.into()));
    }

    #[inline]
    fn matching(&mut self, found: Match) {
        let length = u32::from(found.bytes) - MATCH_BYTES_MIN as u32;
        self.push(Token(Token::MATCH | length << 16 | u32::from(found.distance)));
    }
}
