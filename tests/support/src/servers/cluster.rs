//! A Redis cluster.

use std::process::Stdio;

use redis::Value;
use tokio::process::Command;

use super::server::{RedisServer, field_of, text};
use crate::{eventually, within};

/// How many masters there are, and how many replicas: one each.
const MASTERS: usize = 3;

/// The members detect a dead member within 2 s, and a replica replaces it a second later. The first copy to a replica
/// does not wait for further replicas; the default wait is 5 s.
const SETTINGS: [(&str, &str); 4] = [
    ("cluster-enabled", "yes"),
    ("cluster-config-file", "nodes.conf"),
    ("cluster-node-timeout", "2000"),
    ("repl-diskless-sync-delay", "0"),
];

/// Three masters on loopback with one replica each. The servers end when this value is dropped.
pub struct RedisCluster {
    pub members: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the cluster. The cluster is complete when this returns.
    pub async fn start() -> Self {
        let members = (0..2 * MASTERS).map(|_| RedisServer::start_with(&SETTINGS)).collect();
        let cluster = Self { members };
        within("the members meet", cluster.create()).await;
        eventually("the cluster is whole", || cluster.is_whole()).await;
        cluster
    }

    /// The URLs of all members, masters and replicas.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(RedisServer::url).collect()
    }

    /// The member that is the master of a channel's slot now.
    pub fn master_of(&self, channel: &str) -> usize {
        let slot = self.ask(&["CLUSTER", "KEYSLOT", channel]);
        let slot: u16 = redis::from_redis_value(slot).expect("a slot is a number");
        let port = self.master_ports().find(|(first, last, _)| (*first..=*last).contains(&slot));
        let (_, _, port) = port.expect("each slot has a master");
        self.members.iter().position(|member| member.port == port).expect("a member has the port")
    }

    /// Ends a member at once, as a crash would.
    pub fn kill(&mut self, index: usize) {
        self.members[index].kill();
    }

    /// Whether all members that run see all slots served, and each replica follows its master.
    pub fn is_whole(&self) -> bool {
        self.running().all(|member| {
            let state = text(member.command(&["CLUSTER", "INFO"]));
            field_of(&state, "cluster_state").as_deref() == Some("ok")
                && member.info("master_link_status").is_none_or(|status| status == "up")
        }) && self.running().any(|member| member.info("master_link_status").is_some())
    }

    /// `(first slot, last slot, port of the master)`, as any member knows them.
    fn master_ports(&self) -> impl Iterator<Item = (u16, u16, u16)> {
        type Member = (String, u16, String, Vec<Value>);
        let ranges: Vec<Vec<Value>> =
            redis::from_redis_value(self.ask(&["CLUSTER", "SLOTS"])).expect("a list of ranges");
        ranges.into_iter().map(|range| {
            let [first, last, master, ..] = &range[..] else { panic!("no range: {range:?}") };
            let number =
                |value: &Value| redis::from_redis_value(value.clone()).expect("a slot is a number");
            let (_, port, ..): Member =
                redis::from_redis_value(master.clone()).expect("a master has an address");
            (number(first), number(last), port)
        })
    }

    fn ask(&self, words: &[&str]) -> Value {
        self.running().next().expect("a member runs").command(words)
    }

    fn running(&self) -> impl Iterator<Item = &RedisServer> {
        self.members.iter().filter(|member| member.is_running())
    }

    async fn create(&self) {
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(self.members.iter().map(|member| member.addr().to_string()));
        command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.expect("redis-cli comes with redis-server, or as redis-tools");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "redis-cli --cluster create: {said}");
    }
}
