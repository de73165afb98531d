//! Tokens: opaque random texts that say who calls. The store keeps their hashes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use didymium_engine::Grants;
use didymium_store::{OwnFolder, Store};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Role};

/// What a token begins with, so that a scanner finds one that was published by mistake.
const PREFIX: &str = "didymium";

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// Random bytes of an id.
const ID_BYTES: usize = 6;

/// The tokens of a store.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Arc<Store>,
}

/// What the store keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Its public part.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The beginnings of the names of the tables that it opens; none for all tables.
    pub tables: Vec<String>,
    /// SHA-256 of its secret part.
    pub secret_sha256: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// From when on it is valid; from the beginning where it is not set.
    pub valid_from_ms: Option<i64>,
    /// Until when it is valid; for ever where it is not set.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}

/// Why a token can't be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] didymium_store::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// A token's file is damaged.
    #[error("the token {0}: its file is damaged")]
    Damaged(String),
    /// Nobody can be called so.
    #[error("a token's name is a line of text: it is noted with all that is done with it")]
    Name,
    /// An empty beginning would open every table.
    #[error("the beginning of a table's name must not be empty: leave it out to open all tables")]
    Prefix,
    /// There is no such token.
    #[error("there is no token {0}: `didymium token list` shows them")]
    Unknown(String),
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The beginnings of the names of the tables that it opens; none for all tables.
    pub tables: Vec<String>,
    /// From when on it is valid, in milliseconds since 1970.
    pub valid_from_ms: Option<i64>,
    /// Until when it is valid.
    pub expires_ms: Option<i64>,
}

impl Tokens {
    /// The tokens of this store.
    pub fn of(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Makes a token and gives its text, which nobody can be told again.
    ///
    /// # Errors
    /// [`TokenError::Store`], [`TokenError::Random`].
    pub async fn create(
        &self,
        new: NewToken,
        now_ms: i64,
    ) -> Result<(String, TokenRecord), TokenError> {
        let is_printed = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if !is_printed(&new.name) {
            return Err(TokenError::Name);
        }
        if new.tables.iter().any(|prefix| !is_printed(prefix)) {
            return Err(TokenError::Prefix);
        }
        let id = hex(&random::<ID_BYTES>()?);
        let secret = URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?);
        let record = TokenRecord {
            id: id.clone(),
            name: new.name,
            role: new.role,
            tables: new.tables,
            secret_sha256: hash(&secret),
            created_ms: now_ms,
            valid_from_ms: new.valid_from_ms,
            expires_ms: new.expires_ms,
            revoked_ms: None,
        };
        self.keep(&record, false).await?;
        Ok((format!("{PREFIX}_{id}_{secret}"), record))
    }

    /// Every token, in the order of their ids.
    ///
    /// # Errors
    /// [`TokenError::Store`], [`TokenError::Damaged`].
    pub async fn list(&self) -> Result<Vec<TokenRecord>, TokenError> {
        let mut records = Vec::new();
        for id in self.store.own_names(OwnFolder::Tokens).await? {
            records.extend(self.record(&id).await?);
        }
        Ok(records)
    }

    /// Ends a token: the next call with it is refused.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Store`].
    pub async fn revoke(&self, id: &str, now_ms: i64) -> Result<TokenRecord, TokenError> {
        let unknown = || TokenError::Unknown(id.to_owned());
        let mut record = self.record(id).await?.ok_or_else(unknown)?;
        record.revoked_ms.get_or_insert(now_ms);
        self.keep(&record, true).await?;
        Ok(record)
    }

    /// The caller whom a token names; `None` for one that is malformed, unknown, revoked or out of its
    /// time, all alike. The store is asked every time: a token that was revoked opens nothing more.
    ///
    /// # Errors
    /// [`TokenError::Store`], [`TokenError::Damaged`].
    pub(crate) async fn caller(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<Option<Caller>, TokenError> {
        let mut parts = token.splitn(3, '_');
        let (Some(PREFIX), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let presented = hash(secret);
        let Some(record) = self.record(id).await? else {
            return Ok(None);
        };
        let is_right = same(&presented, &record.secret_sha256);
        Ok((is_right && record.is_in_time(now_ms)).then(|| record.caller()))
    }

    /// Whether the token of this id opens anything now.
    ///
    /// # Errors
    /// [`TokenError::Store`], [`TokenError::Damaged`].
    pub(crate) async fn opens(&self, id: &str, now_ms: i64) -> Result<bool, TokenError> {
        let record = self.record(id).await?;
        Ok(record.is_some_and(|record| record.is_in_time(now_ms)))
    }

    /// The caller who bears the token of this id, where it opens anything now.
    ///
    /// # Errors
    /// [`TokenError::Store`], [`TokenError::Damaged`].
    pub(crate) async fn bearer(&self, id: &str, now_ms: i64) -> Result<Option<Caller>, TokenError> {
        let record = self.record(id).await?;
        let record = record.filter(|record| record.is_in_time(now_ms));
        Ok(record.map(|record| record.caller()))
    }

    async fn record(&self, id: &str) -> Result<Option<TokenRecord>, TokenError> {
        let is_id = id.len() == 2 * ID_BYTES && id.chars().all(|c| c.is_ascii_hexdigit());
        if !is_id {
            return Ok(None);
        }
        let Some(file) = self.store.own_file(OwnFolder::Tokens, id).await? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&file);
        record
            .map(Some)
            .map_err(|_| TokenError::Damaged(id.to_owned()))
    }

    async fn keep(&self, record: &TokenRecord, replace: bool) -> Result<(), TokenError> {
        let file = serde_json::to_vec_pretty(record)
            .map_err(|_| TokenError::Damaged(record.id.clone()))?;
        let kept = self
            .store
            .put_own_file(OwnFolder::Tokens, &record.id, file, replace);
        kept.await?;
        Ok(())
    }
}

impl TokenRecord {
    fn is_in_time(&self, now_ms: i64) -> bool {
        self.valid_from_ms.is_none_or(|from| from <= now_ms)
            && self.expires_ms.is_none_or(|end| now_ms < end)
            && self.revoked_ms.is_none()
    }

    fn caller(&self) -> Caller {
        Caller {
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
            grants: match self.tables.is_empty() {
                true => Grants::All,
                false => Grants::Prefixed(self.tables.clone()),
            },
        }
    }
}

/// A secret has 256 random bits: a plain hash of it can't be turned round.
fn hash(secret: &str) -> String {
    hex(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// Whether two hashes are the same, in a time that does not tell how far they are.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], TokenError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| TokenError::Random)?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
