//! Returns the error of a call without a conversion.
use roomcast::Hub;

fn main() {
    Hub::<String>::new().handlers().on_message(async |conn, text| conn.send(&text).await);
}

//~ a callback returns `()` or `Result<(), Close>`, not `Result<(), roomcast::SendError>`
//~ this closure returns something else
//~ `?` turns each error of roomcast into a `Close`; end the closure with `Ok(())`
