//! TLS: certificates from files, which may change while the server runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The files of a server's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM; nobody but the server's user may read it.
    pub key: PathBuf,
    /// The authorities whose certificates clients must show; none asks for none.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether a server can be started with them.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn check(&self) -> Result<(), TlsError> {
        config(self).map(drop)
    }
}

/// Why TLS can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds something else.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key can be read by others.
    #[error("{0} can be read by others: a private key is its owner's alone (chmod 600)")]
    OpenKey(String),
    /// Certificate and key don't fit.
    #[error("the certificate and its key: {0}")]
    Identity(#[from] rustls::Error),
}

/// The current identity. Connections that stand keep the one that they began with.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    written: Vec<Option<SystemTime>>,
    looked: Instant,
}

impl Tls {
    pub(crate) fn of(files: TlsFiles) -> Result<Self, TlsError> {
        let state = Mutex::new(State {
            config: Arc::new(config(&files)?),
            written: written(&files),
            looked: Instant::now(),
        });
        Ok(Self { files, state })
    }

    /// For the next connection. Files that changed and can't be used change nothing.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let written = written(&self.files);
            if written != state.written {
                match config(&self.files) {
                    Ok(config) => {
                        tracing::info!("certificates read anew");
                        (state.config, state.written) = (Arc::new(config), written);
                    }
                    // Half of a pair may be written; the next look finds the other half.
                    Err(error) => tracing::warn!(%error, "the certificates stay as they were"),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&state.config))
    }
}

fn written(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let files = [
        Some(&files.certificate),
        Some(&files.key),
        files.client_authorities.as_ref(),
    ];
    let times = files.into_iter().map(|file| {
        let data = std::fs::metadata(file?).ok()?;
        data.modified().ok()
    });
    times.collect()
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // TLS 1.2 and 1.3.
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(file)? {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| wrong(file, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    refuse_open(&files.key)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error))?;
    let mut config = builder.with_single_cert(certificates(&files.certificate)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, error))?;
    let read = read.collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| wrong(file, error))?;
    match read.is_empty() {
        false => Ok(read),
        true => Err(wrong(file, "it holds no certificate in PEM")),
    }
}

fn refuse_open(key: &Path) -> Result<(), TlsError> {
    let data = std::fs::metadata(key).map_err(|error| wrong(key, error))?;
    // systemd guards the folder of a service's credentials, and may show its access list as a group's rights.
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    if credentials.is_some_and(|folder| key.starts_with(folder)) {
        return Ok(());
    }
    match data.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(TlsError::OpenKey(key.display().to_string())),
    }
}

fn wrong(file: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        file: file.display().to_string(),
        reason: reason.to_string(),
    }
}
