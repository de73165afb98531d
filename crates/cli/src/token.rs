//! `didymium token`: who may call a store's server.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use didymium_api::v1::admin_service_client::AdminServiceClient;
use didymium_api::v1::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, Token};
use didymium_server::{NewToken, Role, TokenError, Tokens};
use prost_types::Timestamp;

use crate::args::{OutputArgs, RoleArg, TokenCommand};
use crate::failure::Failure;
use crate::now_ms;
use crate::output::write_batch;
use crate::target::Target;

pub(crate) async fn run(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create {
            name,
            role,
            tables,
            expires_in,
            target,
        } => {
            let now_ms = now_ms();
            let life = expires_in.map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
            let new = NewToken {
                name,
                role: role.into(),
                tables,
                valid_from_ms: None,
                expires_ms: life.map(|life| now_ms.saturating_add(life)),
            };
            let (secret, token) = create(Target::of(&target).await?, new, now_ms).await?;
            eprintln!(
                "token {} for {}: keep it now, it is not shown again",
                token.id, token.name
            );
            #[expect(clippy::print_stdout, reason = "what the command is for")]
            {
                println!("{secret}");
            }
            Ok(())
        }
        TokenCommand::List { target } => {
            let tokens = match Target::of(&target).await? {
                Target::Store(store) => {
                    let records = Tokens::of(store).list().await?;
                    records.into_iter().map(Token::from).collect()
                }
                Target::Server(connection) => {
                    let mut admin = AdminServiceClient::new(connection);
                    let listed = admin.list_tokens(ListTokensRequest {}).await?;
                    listed.into_inner().tokens
                }
            };
            write_batch(listed(&tokens)?, &OutputArgs::default())
        }
        TokenCommand::Revoke { id, target } => {
            let token = match Target::of(&target).await? {
                Target::Store(store) => Token::from(Tokens::of(store).revoke(&id, now_ms()).await?),
                Target::Server(connection) => {
                    let mut admin = AdminServiceClient::new(connection);
                    let revoked = admin.revoke_token(RevokeTokenRequest { id }).await?;
                    revoked.into_inner().token.unwrap_or_default()
                }
            };
            eprintln!("token {} of {} is revoked", token.id, token.name);
            Ok(())
        }
    }
}

/// The text of a new token, and what is kept of it.
async fn create(target: Target, new: NewToken, now_ms: i64) -> Result<(String, Token), Failure> {
    match target {
        Target::Store(store) => {
            let (secret, record) = Tokens::of(store).create(new, now_ms).await?;
            Ok((secret, record.into()))
        }
        Target::Server(connection) => {
            let made = AdminServiceClient::new(connection)
                .create_token(CreateTokenRequest::from(new))
                .await?;
            let made = made.into_inner();
            Ok((made.secret, made.token.unwrap_or_default()))
        }
    }
}

fn listed(tokens: &[Token]) -> Result<RecordBatch, Failure> {
    let texts = |text: fn(&Token) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(tokens.iter().map(text)))
    };
    let times = |time: fn(&Token) -> Option<Timestamp>| -> ArrayRef {
        let ms = |time: Timestamp| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000;
        let times = tokens.iter().map(|token| time(token).map(ms));
        Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
    };
    let role = |token: &Token| {
        let name = token.role().as_str_name().trim_start_matches("ROLE_");
        name.to_ascii_lowercase()
    };
    Ok(RecordBatch::try_from_iter([
        ("id", texts(|it| it.id.clone())),
        ("name", texts(|it| it.name.clone())),
        ("role", texts(role)),
        ("tables", texts(|it| it.tables.join(", "))),
        ("created", times(|it| it.created)),
        ("expires", times(|it| it.expires)),
        ("revoked", times(|it| it.revoked)),
    ])?)
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Read => Self::Read,
            RoleArg::Write => Self::Write,
            RoleArg::Schedule => Self::Schedule,
            RoleArg::Admin => Self::Admin,
        }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::own(error.to_string())
    }
}
