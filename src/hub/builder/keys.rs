//! The keys of the backplane.

use super::Builder;
use crate::backplane::Signing;
use crate::hub::BuildError;

/// Shorter keys could be guessed: 128 bits are the strength of the signature, too.
const KEY_BYTES_MIN: usize = 16;

/// The new one and the old one while they change, and some more; each costs a hash for every payload
/// of a stranger.
const KEYS_MAX: usize = 8;

/// # Keys of the backplane
/// So that strangers on it are not believed.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// A key that all nodes on the backplane share. What they send to each other is signed with it,
    /// and what is not is dropped before it is read. Default: none, and whoever can publish on the
    /// backplane's channels reaches every client. At least 16 bytes, which are to be random; more
    /// than 32 are of no use.
    ///
    /// All nodes need it: those with another key, or with none, hear nothing of this one, and this
    /// one nothing of them. Each side counts that, by one in five seconds at least, as it does not
    /// take the other's heartbeats either: a node with a key as
    /// [`unauthenticated`](crate::BackplaneHealth::unauthenticated), one without as
    /// [`unknown_version`](crate::BackplaneHealth::unknown_version).
    ///
    /// # What it protects from
    /// Strangers who can publish on the channels and do not know the key. They cannot reach a client,
    /// pass for a node, or change a message or move it to another channel. A payload of theirs costs
    /// a hash over it, takes no space from others, and is counted.
    ///
    /// # What it does not protect from
    /// - **Readers**: nothing is encrypted. That is for TLS, and for the permissions of the server.
    /// - **Loss**: who controls the server can drop messages. They are counted as lost.
    /// - **Repetition** of what a node has sent, on the same channel, by somebody who has recorded
    ///   it. A node that has heard the message, or a later one of its sender, drops it as a duplicate,
    ///   also when the sender is gone, until it has heard 1,024 others since. One that was not there,
    ///   or not subscribed to the channel, takes it once; of a sender that it hears on the channel,
    ///   only until then, and counts as lost what came between. So a client may get an old message.
    ///   And a recorded heartbeat shows a node that is gone, with what it had, for 15 seconds, or what
    ///   one had before until it tells anew. Recordings are of no use once the key has been changed.
    /// - **Nodes**: who knows the key is one of them.
    ///
    /// # Cost
    /// 16 bytes for each envelope, which holds one message or thousands, and a hash (SHA-256) over it:
    /// once where it is sent, once where it arrives, which its sender's echo does, too.
    ///
    /// # Errors
    /// A key that is too short makes [`build`](Self::build) fail with [`BuildError::OutOfRange`]. The
    /// key itself is in no error, and in no `Debug`.
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

    /// [`backplane_key`](Self::backplane_key) while the key is being changed: signs with the first
    /// one, and accepts what is signed with any of them, of up to 8.
    ///
    /// So that nothing is missed meanwhile, give all nodes first the old and the new one, then the
    /// new and the old one, then the new one alone, and begin with a step when the last one is done
    /// everywhere. From no key to one there is no such way: nodes with and without do not hear each
    /// other.
    ///
    /// # Errors
    /// As `backplane_key`; also where there is no key at all, or too many.
    pub fn backplane_keys<K: AsRef<[u8]>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        self.signing = check(&keys).map(|()| Signing::with(&keys));
        self
    }
}

/// Refuses what is no list of keys, without a word of what is in them.
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
