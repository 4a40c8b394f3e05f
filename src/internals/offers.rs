//! The negotiation of compression.

use crate::engine::ClientInflater;
use crate::ws;

/// The answer to the values of `Sec-WebSocket-Extensions`, as text, with the inflater of the client.
/// `None` if no offer is acceptable.
///
/// # Errors
/// The values are malformed: the handshake fails.
#[expect(clippy::result_unit_err, reason = "there is one reason")]
pub fn negotiate(values: &[&[u8]]) -> Result<Option<(String, ClientInflater)>, ()> {
    let agreement = ws::negotiate(values.iter().copied()).map_err(drop)?;
    Ok(agreement.map(|agreement| {
        let answer = agreement.answer();
        (answer.to_str().expect("visible ASCII").to_owned(), agreement.inflater())
    }))
}
