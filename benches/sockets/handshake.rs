//! The client's side of the opening handshake.

use std::io::Read;

use crate::Result;
use crate::stream::Stream;
use crate::wire::take_frame;

/// Reads the response to an upgrade request. Returns its head, and the bytes after it.
pub(crate) fn read_head(stream: &mut Stream) -> Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut piece = [0; 1_024];
    loop {
        let read = stream.read(&mut piece)?;
        head.extend_from_slice(&piece[..read]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            let head = String::from_utf8_lossy(&head).into_owned();
            return match head.starts_with("HTTP/1.1 101") {
                true => Ok((head, rest)),
                false => Err(format!("refused: {head}").into()),
            };
        }
        if read == 0 {
            return Err("the server has closed a connection in its handshake".into());
        }
    }
}

/// Whether the server has accepted permessage-deflate.
pub(crate) fn accepts_deflate(head: &str) -> bool {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut extensions =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
    extensions.any(|(_, value)| value.contains("permessage-deflate"))
}

/// Reads until the server returns the greeting, perhaps with more text, and leaves the frames after it in `input`.
pub(crate) fn read_greeting(
    stream: &mut Stream,
    input: &mut Vec<u8>,
    greeting: &str,
) -> Result<()> {
    let mut piece = [0; 1_024];
    loop {
        while let Some((_, payload, bytes)) = take_frame(input) {
            let is_returned = payload.starts_with(greeting.as_bytes());
            input.drain(..bytes);
            if is_returned {
                return Ok(());
            }
        }
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err("the server has closed a connection in its greeting".into());
        }
        input.extend_from_slice(&piece[..read]);
    }
}
