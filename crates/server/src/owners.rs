//! Whose rights jobs run with: those of their owners' tokens, as they are at each run.

use std::sync::Arc;

use async_trait::async_trait;
use didymium_engine::{Engine, ErrorKind};
use didymium_jobs::{Error, Owner, Owners};

use crate::caller::{Caller, Role};
use crate::serve::Access;
use crate::tokens::Tokens;

/// The bearers of a store's tokens.
#[derive(Debug)]
pub(crate) struct TokenOwners {
    access: Access,
    tokens: Tokens,
    engine: Arc<Engine>,
}

impl TokenOwners {
    pub(crate) fn of(access: Access, engine: &Arc<Engine>) -> Self {
        Self {
            access,
            tokens: Tokens::of(Arc::clone(engine.store())),
            engine: Arc::clone(engine),
        }
    }
}

#[async_trait]
impl Owners for TokenOwners {
    async fn owner(&self, id: &str) -> Result<Option<Owner>, Error> {
        let local = Caller::local();
        if self.access == Access::Open && id == local.id {
            return Ok(Some(Owner::from(&local)));
        }
        let bearer = self.tokens.bearer(id, self.engine.now_ms()).await;
        let bearer = bearer.map_err(|error| {
            didymium_engine::Error::new(ErrorKind::Unavailable, error.to_string())
        })?;
        let bearer = bearer.filter(|bearer| bearer.role >= Role::Schedule);
        Ok(bearer.as_ref().map(Owner::from))
    }
}
