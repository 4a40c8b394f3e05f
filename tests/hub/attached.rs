//! The data of a connection: parameters of its route, values that `on_upgrade` attached, and the state of the closures.

use std::collections::HashMap;
use std::sync::Arc;

use roomcast::{Hub, StatusCode};
use tokio::sync::Semaphore;

use support::{Client, eventually, serve};

#[derive(Clone)]
struct User(String);

/// The state that the closures share.
#[derive(Clone)]
struct App {
    users: Arc<HashMap<&'static str, User>>,
    /// The test opens the gate, so the test sets how long a login takes.
    gate: Arc<Semaphore>,
}

#[tokio::test]
async fn closures_share_a_state_and_a_login_may_wait() {
    let users = [("t1", "ann"), ("t2", "bob")];
    let users = users.map(|(token, name)| (token, User(name.to_owned())));
    let app = App { users: Arc::new(users.into()), gate: Arc::new(Semaphore::new(0)) };
    let hub = Hub::<String>::new();
    let handlers = hub
        .handlers()
        .with_state(app.clone())
        .on_upgrade(async |app, mut request| {
            app.gate.acquire().await.map_err(|_| StatusCode::GONE)?.forget();
            let token = request.query("token").unwrap_or_default();
            let user = app.users.get(&*token).ok_or(StatusCode::UNAUTHORIZED)?.clone();
            request.insert(user);
            Ok(request)
        })
        .on_message(async |app, conn, text| {
            let User(name) = conn.get();
            conn.send(&format!("{name}: {text} of {}", app.users.len())).await?;
            Ok(())
        });
    let endpoint = hub.handle(handlers);
    let server = serve(endpoint.clone()).await;
    let connect = tokio::spawn(async move { Client::connect(server.addr, "/ws?token=t2").await });
    tokio::task::yield_now().await;
    assert_eq!(hub.count(), 0, "the login waits");
    app.gate.add_permits(2);
    let mut client = connect.await.expect("connected");
    client.send_text(r#""hi""#).await;
    assert_eq!(client.next_text().await, r#""bob: hi of 2""#);
    let refused = Client::try_connect(server.addr, "/ws?token=t3").await;
    assert!(refused.is_err());
    assert!(format!("{:?}", endpoint.handler()).contains("Handlers"));
}

#[tokio::test]
async fn missing_route_parameter_panics_with_its_name_and_ends_the_connection() {
    let hub = Hub::<String>::new();
    let handlers = hub.handlers().on_connect(async |conn| {
        let named = conn.param("room").to_owned();
        conn.join(&named).await?;
        conn.send(&format!("{named} {:?}", conn.try_param("rom"))).await?;
        conn.param("rom");
        Ok(())
    });
    let server = serve(hub.handle(handlers)).await;
    let mut client = Client::connect(server.addr, "/ws/tea").await;
    assert_eq!(client.next_text().await, r#""tea None""#);
    assert_eq!(client.closed().await.0, 1011);
    assert_eq!(Client::connect(server.addr, "/ws").await.closed().await.0, 1011);
    eventually("both are counted", || hub.stats().handler_panics == 2).await;
}

#[tokio::test]
async fn missing_attached_value_ends_the_connection() {
    let hub = Hub::<String>::new();
    let handlers = hub.handlers().on_connect(async |conn| {
        let User(name) = conn.get();
        conn.send(name).await?;
        Ok(())
    });
    let server = serve(hub.handle(handlers)).await;
    assert_eq!(Client::connect(server.addr, "/ws").await.closed().await.0, 1011);
    eventually("it is counted", || hub.stats().handler_panics == 1).await;
}
