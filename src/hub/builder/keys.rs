//! The settings for the keys that sign messages on the backplane.

use super::Builder;
use crate::backplane::Signing;
use crate::hub::BuildError;

/// Shorter keys could be guessed. 128 bits are also the strength of the signature.
const KEY_BYTES_MIN: usize = 16;

/// Enough for a change of keys, and some more. Each key costs a hash for every payload without a
/// valid signature.
const KEYS_MAX: usize = 8;

/// # Keys of the backplane
/// Nodes that share a key ignore messages of others on the backplane.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Sets the secret key that all nodes on the backplane share. Default: no key; then anyone who
    /// can publish on the backplane's channels can reach every client.
    ///
    /// Nodes sign their messages to each other with the key, and drop payloads without a valid
    /// signature before they read them. The key must have at least 16 bytes, and should be random.
    /// More than 32 bytes add no security.
    ///
    /// All nodes need the same key. Nodes with different keys, or with and without a key, receive
    /// nothing from each other. Each side counts the payloads that it drops, at least one in five
    /// seconds because heartbeats are among them. A node with a key counts them as
    /// [`unauthenticated`](crate::BackplaneHealth::unauthenticated), a node without as
    /// [`unknown_version`](crate::BackplaneHealth::unknown_version).
    ///
    /// # Protection
    /// The key protects from attackers who can publish on the channels but do not know the key.
    /// They cannot reach a client, impersonate a node, change a message, or move a message to
    /// another channel. A payload of an attacker costs one hash over the payload, takes no space
    /// from other messages, and is counted.
    ///
    /// # Limits of the protection
    /// - **Reading**: nothing is encrypted. Use TLS, and the permissions of the server.
    /// - **Loss**: an attacker who controls the server can drop messages. The nodes count them as
    ///   lost.
    /// - **Replay**: an attacker can record a node's message and publish it again on the same
    ///   channel. A node that has received the message, or a later one of the same sender, drops
    ///   the replay as a duplicate. The node remembers a sender that is gone until it has received
    ///   messages of 1,024 other senders. A node that was not there, or had not subscribed to the
    ///   channel, accepts the message once. If the sender still publishes there, the node accepts
    ///   the replay only before it receives the sender's first message, and counts the messages in
    ///   between as lost. So a client may get an old message. A recorded heartbeat shows a node
    ///   that is gone, with its old numbers, for 15 seconds; or it shows the old numbers of a
    ///   living node until the next heartbeat. Recordings become useless when the key is changed.
    /// - **Nodes**: anyone who knows the key can act as a node.
    ///
    /// # Cost
    /// 16 bytes for each envelope, which holds one message or thousands. A hash (SHA-256) over the
    /// envelope at the sender, and one at each receiver; the sender also receives its own envelope.
    ///
    /// # Errors
    /// A key that is too short makes [`build`](Self::build) fail with [`BuildError::OutOfRange`].
    /// No error and no `Debug` output contains the key.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Hub, Local};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir();
    /// # let path = directory.join(format!("roomcast-key-{}", std::process::id()));
    /// # std::fs::write(&path, [7; 32])?;
    /// let key = std::fs::read(&path)?; // as `openssl rand 32` makes one
    /// # std::fs::remove_file(&path)?;
    /// let hub = Hub::<String>::builder().backplane(Local::new(), "chat").backplane_key(key).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn backplane_key(self, key: impl AsRef<[u8]>) -> Self {
        self.backplane_keys([key])
    }

    /// Sets several keys, for a change of the [`backplane_key`](Self::backplane_key): 1 to 8. The
    /// hub signs with the first key, and accepts messages that are signed with any of the keys.
    ///
    /// To change the key without missing a message, give all nodes first the old and the new key,
    /// then the new and the old key, then only the new key. Begin each step when the previous one
    /// is done on all nodes. There is no such way from no key to a key: nodes with and without a
    /// key do not receive each other's messages.
    ///
    /// # Errors
    /// As `backplane_key`; also an empty list, or more than 8 keys.
    pub fn backplane_keys<K: AsRef<[u8]>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        self.signing = check(&keys).map(|()| Signing::with(&keys));
        self
    }
}

/// Checks the number and the lengths of keys. The errors do not contain the keys.
fn check(keys: &[impl AsRef<[u8]>]) -> Result<(), BuildError> {
    let out_of_range =
        |setting, value, range| Err(BuildError::OutOfRange { setting, value, range });
    if !(1..=KEYS_MAX).contains(&keys.len()) {
        return out_of_range("backplane_keys", format!("{} keys", keys.len()), "1 to 8");
    }
    match keys.iter().map(|key| key.as_ref().len()).min() {
        Some(bytes) if bytes < KEY_BYTES_MIN => {
            out_of_range("backplane_key", format!("{bytes} bytes"), "16 and more")
        }
        _ => Ok(()),
    }
}
