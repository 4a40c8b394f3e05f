//! Passes the closures a borrowed state that is dropped before the hub.
use roomcast::Hub;

fn main() {
    let greeting = "hello".to_owned();
    let hub = Hub::<String>::new();
    hub.handle(hub.handlers().with_state(&greeting).on_connect(async |greeting, conn| {
        conn.send(greeting).await?;
        Ok(())
    }));
}

//~ `greeting` does not live long enough
//~ argument requires that `greeting` is borrowed for `'static`
