//! Where a command works: in a store of this process, or on a server.

use std::sync::Arc;

use didymium_engine::{Engine, Limits};
use didymium_store::Store;
use tonic::transport::Channel;

use crate::args::TargetArgs;
use crate::failure::Failure;
use crate::now_ms;

/// An open store, or a server that answers.
pub(crate) enum Target {
    Store(Arc<Store>),
    Server(Channel),
}

impl Target {
    pub(crate) async fn of(args: &TargetArgs) -> Result<Self, Failure> {
        match (&args.url, &args.store) {
            (Some(url), _) => connect(url).await.map(Self::Server),
            (None, Some(store)) => Ok(Self::Store(Arc::new(Store::open(store.clone()).await?))),
            (None, None) => Err(Failure::usage("name a server (--url) or a store (--store)")),
        }
    }
}

/// An engine over a store of this process.
pub(crate) fn engine(store: Arc<Store>) -> Result<Arc<Engine>, Failure> {
    Ok(Arc::new(Engine::new(store, Limits::default(), now_ms)?))
}

/// A connection to the server at an address of ours.
async fn connect(url: &str) -> Result<Channel, Failure> {
    let Some(address) = url.strip_prefix("grpc://") else {
        return Err(Failure::usage(format!(
            "{url}: a server's address is grpc://HOST:PORT"
        )));
    };
    let unreachable = |_| Failure::unreachable(format!("no server answers at {url}"));
    let endpoint = Channel::from_shared(format!("http://{address}"))
        .map_err(|_| Failure::usage(format!("{url}: a server's address is grpc://HOST:PORT")))?;
    endpoint.connect().await.map_err(unreachable)
}
