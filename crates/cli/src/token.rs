//! `didymium token`: who may call a store's server.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use didymium_server::{NewToken, Role, TokenError, TokenRecord, Tokens};
use didymium_store::Store;

use crate::args::{OutputArgs, RoleArg, StoreArgs, TokenCommand};
use crate::failure::Failure;
use crate::now_ms;
use crate::output::write_batch;

pub(crate) async fn run(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create {
            name,
            role,
            tables,
            expires_in,
            store,
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
            let (token, record) = tokens(store).await?.create(new, now_ms).await?;
            eprintln!(
                "token {} for {}: keep it now, it is not shown again",
                record.id, record.name
            );
            #[expect(clippy::print_stdout, reason = "what the command is for")]
            {
                println!("{token}");
            }
            Ok(())
        }
        TokenCommand::List { store } => {
            let records = tokens(store).await?.list().await?;
            write_batch(listed(&records)?, &OutputArgs::default())
        }
        TokenCommand::Revoke { id, store } => {
            let record = tokens(store).await?.revoke(&id, now_ms()).await?;
            eprintln!("token {} of {} is revoked", record.id, record.name);
            Ok(())
        }
    }
}

async fn tokens(store: StoreArgs) -> Result<Tokens, Failure> {
    let store = Store::open(store.store).await?;
    Ok(Tokens::of(Arc::new(store)))
}

fn listed(records: &[TokenRecord]) -> Result<RecordBatch, Failure> {
    let texts = |text: fn(&TokenRecord) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(records.iter().map(text)))
    };
    let times = |time: fn(&TokenRecord) -> Option<i64>| -> ArrayRef {
        let times = TimestampMillisecondArray::from_iter(records.iter().map(time));
        Arc::new(times.with_timezone("UTC"))
    };
    Ok(RecordBatch::try_from_iter([
        ("id", texts(|it| it.id.clone())),
        ("name", texts(|it| it.name.clone())),
        ("role", texts(|it| it.role.to_string())),
        ("tables", texts(|it| it.tables.join(", "))),
        ("created", times(|it| Some(it.created_ms))),
        ("expires", times(|it| it.expires_ms)),
        ("revoked", times(|it| it.revoked_ms)),
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
