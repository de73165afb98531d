//! `AdminService`: what a server is doing, and who may call it.

use std::sync::Arc;

use didymium_api::v1::admin_service_server::AdminService;
use didymium_api::v1::{
    CreateTokenRequest, CreateTokenResponse, GetStatusRequest, GetStatusResponse,
    ListTokensRequest, ListTokensResponse, RevokeTokenRequest, RevokeTokenResponse,
    Role as WireRole, Token,
};
use didymium_engine::{ErrorKind, Grants};
use tonic::{Request, Response, Status};

use crate::caller::{Caller, Role};
use crate::desk::Desk;
use crate::request::{invalid, ms, timestamp};
use crate::status::{failed, refused};
use crate::tokens::{NewToken, TokenError, TokenRecord, Tokens};

/// The service over one desk.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) desk: Arc<Desk>,
}

impl Admin {
    fn tokens(&self) -> Tokens {
        Tokens::of(Arc::clone(self.desk.engine.store()))
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let desk = &self.desk;
        let moment = desk.moment();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: desk.started.elapsed().try_into().ok(),
            queries_running: count(moment.running),
            queries_waiting: count(moment.waiting),
            pool_bytes: moment.pool_bytes as u64,
            resident_bytes: moment.resident_bytes,
            is_stopping: desk.stopping.is_cancelled(),
        }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let now_ms = self.desk.engine.now_ms();
        let role = role(request.role())?;
        if let Grants::Prefixed(own) = &caller.grants {
            let is_within = |new: &String| own.iter().any(|prefix| new.starts_with(prefix));
            if request.tables.is_empty() || !request.tables.iter().all(is_within) {
                return Err(refused(
                    ErrorKind::Denied,
                    "tables: a token opens no more than the one that makes it",
                ));
            }
        }
        let expires_ms = request.expires.as_ref().map(ms);
        if expires_ms.is_some_and(|expires| expires <= now_ms) {
            return Err(invalid("expires: it is past already"));
        }
        let new = NewToken {
            name: request.name,
            role,
            tables: request.tables,
            valid_from_ms: request.valid_from.as_ref().map(ms),
            expires_ms,
        };
        let made = self.tokens().create(new, now_ms).await;
        let (secret, record) = made.map_err(of_token)?;
        tracing::info!(
            id = record.id,
            name = record.name,
            by = caller.name,
            "token made"
        );
        Ok(Response::new(CreateTokenResponse {
            secret,
            token: Some(record.into()),
        }))
    }

    async fn list_tokens(
        &self,
        _: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let records = self.tokens().list().await.map_err(of_token)?;
        let tokens = records.into_iter().map(Token::from).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let id = request.into_inner().id;
        let revoked = self.tokens().revoke(&id, self.desk.engine.now_ms()).await;
        let record = revoked.map_err(of_token)?;
        tracing::info!(id, name = record.name, by = caller.name, "token revoked");
        Ok(Response::new(RevokeTokenResponse {
            token: Some(record.into()),
        }))
    }
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            role: WireRole::from(record.role).into(),
            tables: record.tables,
            created: Some(timestamp(record.created_ms)),
            valid_from: record.valid_from_ms.map(timestamp),
            expires: record.expires_ms.map(timestamp),
            revoked: record.revoked_ms.map(timestamp),
        }
    }
}

impl From<NewToken> for CreateTokenRequest {
    fn from(new: NewToken) -> Self {
        Self {
            name: new.name,
            role: WireRole::from(new.role).into(),
            tables: new.tables,
            valid_from: new.valid_from_ms.map(timestamp),
            expires: new.expires_ms.map(timestamp),
        }
    }
}

impl From<Role> for WireRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Read => Self::Read,
            Role::Write => Self::Write,
            Role::Schedule => Self::Schedule,
            Role::Admin => Self::Admin,
        }
    }
}

fn role(role: WireRole) -> Result<Role, Status> {
    match role {
        WireRole::Unspecified => Err(invalid("role: say what the token allows")),
        WireRole::Read => Ok(Role::Read),
        WireRole::Write => Ok(Role::Write),
        WireRole::Schedule => Ok(Role::Schedule),
        WireRole::Admin => Ok(Role::Admin),
    }
}

fn of_token(error: TokenError) -> Status {
    match error {
        TokenError::Store(error) => failed(&error.into()),
        TokenError::Unknown(_) => refused(ErrorKind::NotFound, error.to_string()),
        TokenError::Name | TokenError::Prefix => invalid(error.to_string()),
        TokenError::Damaged(_) => refused(ErrorKind::Corrupt, error.to_string()),
        TokenError::Random => refused(ErrorKind::Internal, error.to_string()),
    }
}
