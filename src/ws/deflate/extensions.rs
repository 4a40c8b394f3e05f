//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455, section 9.1).
//!
//! ```text
//! extension-list  = 1#extension
//! extension       = extension-token *( ";" extension-param )
//! extension-param = token [ "=" (token | quoted-string) ]
//! ```
//!
//! A quoted string must be a token when it is unescaped. Spaces may stand between any two parts, and
//! elements of the list may be empty (RFC 2616, section 2.1). A list without any element is accepted,
//! too, as a request without the header: proxies disable an extension by an empty value.

/// The value breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A part of a list of extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// The name of an extension.
    Name(&'a [u8]),
    /// A parameter of that extension.
    Param(Param<'a>),
    /// The end of that extension.
    End,
}

/// A parameter of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Option<Value<'a>>,
}

/// The value of a parameter: a token, or the inside of a quoted string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a>(&'a [u8]);

impl Value<'_> {
    /// Returns the size of a window, as a base-2 logarithm: 8 to 15, without leading zeros (RFC
    /// 7692, section 7.1.2).
    pub(super) fn window_bits(self) -> Option<u8> {
        // A token has no backslash. In a quoted string, a backslash stands before an escaped byte,
        // and no byte of a token is a backslash.
        let mut bytes = self.0.iter().filter(|byte| **byte != b'\\');
        match (bytes.next(), bytes.next(), bytes.next()) {
            (Some(digit @ b'8'..=b'9'), None, None) => Some(digit - b'0'),
            (Some(b'1'), Some(digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}

/// Passes the parts of a list of extensions to `see`, in their order.
///
/// # Errors
/// The list breaks the grammar. `see` got the parts before.
pub(super) fn each<'a>(list: &'a [u8], mut see: impl FnMut(Part<'a>)) -> Result<(), Malformed> {
    let mut cursor = Cursor(list);
    loop {
        while cursor.take(b',') {}
        if cursor.is_at_end() {
            return Ok(());
        }
        see(Part::Name(cursor.token()?));
        while cursor.take(b';') {
            let name = cursor.token()?;
            let value = if cursor.take(b'=') { Some(cursor.value()?) } else { None };
            see(Part::Param(Param { name, value }));
        }
        see(Part::End);
        if !cursor.is_at_end() && !cursor.take(b',') {
            return Err(Malformed);
        }
    }
}

/// The rest of a list. Each call skips the spaces before its part.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip_spaces(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_spaces();
        self.0.is_empty()
    }

    /// Takes this byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let is_next = self.0.first() == Some(&byte);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        self.skip_spaces();
        let end = self.0.iter().position(|byte| !is_token(*byte)).unwrap_or(self.0.len());
        self.split(end)
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(Value);
        }
        let mut end = 0;
        loop {
            end += match self.0[end..] {
                [b'"', ..] => break,
                [b'\\', byte, ..] if is_token(byte) => 2,
                [byte, ..] if is_token(byte) => 1,
                _ => return Err(Malformed),
            };
        }
        let inside = self.split(end)?;
        self.0 = &self.0[1..];
        Ok(Value(inside))
    }

    /// Takes so many bytes, which must be one or more.
    fn split(&mut self, end: usize) -> Result<&'a [u8], Malformed> {
        let (part, rest) = self.0.split_at(end);
        self.0 = rest;
        if part.is_empty() { Err(Malformed) } else { Ok(part) }
    }
}

/// Whether a token may contain this byte (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
