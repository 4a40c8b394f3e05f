//! The claims of every backplane, on a Redis and on a Redis Cluster.

use std::any::Any;
use std::sync::Arc;

use roomcast::{Backplane, BackplaneError, Inbound, Redis, RedisCluster};

use support::servers;

/// A backplane with its servers, which end with the last clone.
#[derive(Clone)]
struct Served<B> {
    backplane: B,
    _servers: Arc<dyn Any + Send + Sync>,
}

impl<B: Backplane> Backplane for Served<B> {
    type Publisher = B::Publisher;
    type Subscriber = B::Subscriber;

    async fn connect_publisher(&self) -> Result<B::Publisher, BackplaneError> {
        self.backplane.connect_publisher().await
    }

    async fn connect_subscriber(&self, inbound: Inbound) -> Result<B::Subscriber, BackplaneError> {
        self.backplane.connect_subscriber(inbound).await
    }
}

mod server {
    use super::*;

    fn redis() -> Served<Redis> {
        let server = servers::RedisServer::start();
        let backplane = Redis::open(&server.url()).expect("a URL");
        Served { backplane, _servers: Arc::new(server) }
    }

    support::claims!(redis());
}

mod cluster {
    use super::*;

    async fn redis_cluster() -> Served<RedisCluster> {
        let cluster = servers::RedisCluster::start().await;
        let backplane = RedisCluster::open(&cluster.urls()).expect("URLs");
        Served { backplane, _servers: Arc::new(cluster) }
    }

    support::claims!(redis_cluster().await);
}
