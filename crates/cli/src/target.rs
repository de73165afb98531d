//! Where a command works: in a store of this process, or on a server.

use std::sync::Arc;

use didymium_engine::{Engine, Limits};
use didymium_store::Store;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use crate::args::{ServerArgs, TargetArgs, TlsArgs};
use crate::failure::{Failure, read_text, root_cause};
use crate::now_ms;

/// An open store, or a server that answers.
pub(crate) enum Target {
    Store(Arc<Store>),
    Server(Connection),
}

/// A connection to a server, over which every call shows the caller's token.
pub(crate) type Connection = InterceptedService<Channel, Token>;

/// The token that every call shows, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Token {
    /// Out of the environment or a file: a command line is everybody's to read.
    fn of(args: &TlsArgs) -> Result<Self, Failure> {
        let token = match &args.token_file {
            Some(file) => Some(read_text(file)?),
            None => std::env::var("DIDYMIUM_TOKEN").ok(),
        };
        let Some(token) = token else {
            return Ok(Self(None));
        };
        let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| Failure::usage("the token holds characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Target {
    pub(crate) async fn of(args: &TargetArgs) -> Result<Self, Failure> {
        match (&args.place.url, &args.place.store) {
            (Some(url), _) => connect(url, &args.tls).await.map(Self::Server),
            (None, Some(store)) => Ok(Self::Store(Arc::new(Store::open(store.clone()).await?))),
            (None, None) => Err(Failure::usage("name a server (--url) or a store (--store)")),
        }
    }
}

/// An engine over a store of this process.
pub(crate) fn engine(store: Arc<Store>) -> Result<Arc<Engine>, Failure> {
    Ok(Arc::new(Engine::new(store, Limits::default(), now_ms)?))
}

/// A connection to a server, for what no store can do without one.
pub(crate) async fn server(args: &ServerArgs) -> Result<Connection, Failure> {
    connect(&args.url, &args.tls).await
}

/// A connection to the server at an address of ours.
async fn connect(url: &str, args: &TlsArgs) -> Result<Connection, Failure> {
    let usage = || {
        Failure::usage(format!(
            "{url}: a server's address is grpc://HOST:PORT, or grpcs://HOST:PORT with TLS"
        ))
    };
    let endpoint = |scheme: &str, address: &str| {
        Channel::from_shared(format!("{scheme}://{address}")).map_err(|_| usage())
    };
    let secure = url
        .strip_prefix("grpcs://")
        .or(url.strip_prefix("grpc+tls://"));
    let endpoint = match (secure, url.strip_prefix("grpc://")) {
        (Some(address), _) => endpoint("https", address)?.tls_config(tls(args)?),
        (None, Some(address)) => Ok(endpoint("http", address)?),
        (None, None) => return Err(usage()),
    };
    let endpoint = endpoint.map_err(|error| Failure::own(format!("TLS: {error}")))?;
    let channel = endpoint.connect().await.map_err(|error| {
        let reason = root_cause(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        Failure::unreachable(format!("no server answers at {url}{reason}"))
    })?;
    Ok(InterceptedService::new(channel, Token::of(args)?))
}

/// Whom to trust, and who we are.
fn tls(args: &TlsArgs) -> Result<ClientTlsConfig, Failure> {
    let config = match &args.tls_ca {
        Some(file) => {
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read_text(file)?))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    Ok(match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            config.identity(Identity::from_pem(read_text(certificate)?, read_text(key)?))
        }
        _ => config,
    })
}
