//! Holds an `Rc` across an `.await`.
use std::rc::Rc;

use roomcast::{Close, Conn, Handler};

struct Echo;

impl Handler<String> for Echo {
    async fn on_message(&self, conn: &Conn<String>, text: String) -> Result<(), Close> {
        let text = Rc::new(text);
        conn.send(&*text).await?;
        Ok(())
    }
}

fn main() {}

//~ future cannot be sent between threads safely
//~ async fn on_message
//~ future returned by `on_message` is not `Send`
//~ the trait `Send` is not implemented for `Rc<String>`
//~ conn.send(&*text).await?;
//~ await occurs here
