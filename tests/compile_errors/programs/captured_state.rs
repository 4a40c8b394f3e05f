//! Moves a state into a closure that the hub calls many times.
use roomcast::Hub;

fn main() {
    let greeting = "hello".to_owned();
    Hub::<String>::new().handlers().on_connect(async move |conn| {
        conn.send(&greeting).await?;
        Ok(())
    });
}

//~ async closure does not implement `Fn` because it captures state from its environment
