//! What clients keep for the server: signed, so that it comes back as it was given.
//!
//! A prepared statement's handle and a result's ticket hold all that the server needs to go on with
//! them, so they work after a restart and on another server over the same store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use didymium_store::{OwnFolder, Store};
use prost::Message;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::tokens::{TokenError, random};

/// The name of a store's first key.
const FIRST: &str = "1";

/// The keys of a store. The newest signs; all of them are known.
#[derive(Debug)]
pub(crate) struct Seal {
    /// In the order of their age.
    keys: Vec<(String, hmac::Key)>,
}

/// A key as the store keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// 32 random bytes in base64.
    hmac_sha256: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sealed {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    tag: Vec<u8>,
}

/// What a sealed text is for: one is never taken for another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Handle,
    Ticket,
    Session,
}

impl Seal {
    /// The keys of a store, which gets one if it has none.
    ///
    /// # Errors
    /// Where the store fails or a key is damaged.
    pub(crate) async fn open(store: &Store) -> Result<Self, TokenError> {
        let mut names = store.own_names(OwnFolder::Keys).await?;
        if names.is_empty() {
            let key = KeyFile {
                hmac_sha256: STANDARD.encode(random::<32>()?),
            };
            let file = serde_json::to_vec(&key).map_err(|_| damaged(FIRST))?;
            // Where another server was first, its key is the key.
            let put = store.put_own_file(OwnFolder::Keys, FIRST, file, false);
            put.await?;
            names.push(FIRST.to_owned());
        }
        names.sort_by_key(|name| (name.len(), name.clone()));
        let mut keys = Vec::new();
        for name in names {
            let file = store.own_file(OwnFolder::Keys, &name).await?;
            let key: Option<KeyFile> = file.and_then(|file| serde_json::from_slice(&file).ok());
            let key = key.and_then(|key| STANDARD.decode(key.hmac_sha256).ok());
            let key = key
                .filter(|key| key.len() >= 32)
                .ok_or_else(|| damaged(&name))?;
            keys.push((name, hmac::Key::new(hmac::HMAC_SHA256, &key)));
        }
        Ok(Self { keys })
    }

    /// Signs a message.
    pub(crate) fn seal(&self, purpose: Purpose, message: &impl Message) -> Bytes {
        let (name, key) = self.keys.last().expect("a store has at least one key");
        let body = message.encode_to_vec();
        let tag = hmac::sign(key, &signed(purpose, &body)).as_ref().to_vec();
        let key = name.clone();
        Sealed { key, body, tag }.encode_to_vec().into()
    }

    /// The message, if this server, or another one over its store, has signed it for this purpose.
    pub(crate) fn open_sealed<M: Message + Default>(
        &self,
        purpose: Purpose,
        sealed: &[u8],
    ) -> Option<M> {
        let sealed = Sealed::decode(sealed).ok()?;
        let (_, key) = self.keys.iter().find(|(name, _)| *name == sealed.key)?;
        hmac::verify(key, &signed(purpose, &sealed.body), &sealed.tag).ok()?;
        M::decode(sealed.body.as_slice()).ok()
    }
}

fn signed(purpose: Purpose, body: &[u8]) -> Vec<u8> {
    let purpose: &[u8] = match purpose {
        Purpose::Handle => b"handle\0",
        Purpose::Ticket => b"ticket\0",
        Purpose::Session => b"session\0",
    };
    [purpose, body].concat()
}

fn damaged(key: &str) -> TokenError {
    TokenError::Damaged(format!("key {key}"))
}
