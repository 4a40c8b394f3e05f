//! Holds an `Rc` across an `.await`.
use std::rc::Rc;

use roomcast::Hub;

fn main() {
    Hub::<String>::new().handlers().on_message(async |conn, text| {
        let text = Rc::new(text);
        conn.send(&*text).await?;
        Ok(())
    });
}

//~ future cannot be sent between threads safely
//~ future created by async closure is not `Send`
//~ the trait `Send` is not implemented for `Rc<String>`
//~ conn.send(&*text).await?;
//~ await occurs here
