//! Who is told of runs: an HTTP request with a signed body.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::redirect::Policy;
use ring::hmac;
use serde_json::{Value, json};
use url::Url;

use crate::definition::{Definition, Event};
use crate::digest::hex;
use crate::jobs::Job;
use crate::run::Run;
use crate::{Error, Result, logical_time};

/// Where this server sends what it tells.
#[derive(Debug, Clone, Default)]
pub struct Webhooks {
    allowed: Vec<Url>,
    key: Option<hmac::Key>,
    client: reqwest::Client,
}

/// The header that signs the body: `sha256=` and the HMAC in hexadecimal digits.
const SIGNATURE: &str = "didymium-signature";

/// Time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts after the first.
const RETRIES: usize = 4;

impl Webhooks {
    /// Those below some addresses, signed with a key.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is none, or where HTTPS can't be had.
    pub fn below(addresses: &[String], key: &[u8]) -> Result<Self> {
        let allowed = addresses.iter().map(|address| parsed(address));
        let client = reqwest::Client::builder()
            // Whoever answers must not send us elsewhere.
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Error::Invalid(format!("webhooks: {error}")))?;
        Ok(Self {
            allowed: allowed.collect::<Result<_>>()?,
            key: Some(hmac::Key::new(hmac::HMAC_SHA256, key)),
            client,
        })
    }

    /// Refuses an address that this server does not send to.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn check(&self, definition: &Definition) -> Result<()> {
        let Some(notify) = &definition.notify else {
            return Ok(());
        };
        match self.is_allowed(&parsed(&notify.url)?) {
            true => Ok(()),
            false => Err(Error::Invalid(format!(
                "job {}: this server does not send to {}: its operator allows addresses by --webhook-allow",
                definition.name, notify.url
            ))),
        }
    }

    fn is_allowed(&self, url: &Url) -> bool {
        self.allowed.iter().any(|allowed| {
            let folder = allowed.path().trim_end_matches('/');
            let rest = url.path().strip_prefix(folder);
            url.origin() == allowed.origin()
                && url.username().is_empty()
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Tells of a run, where its job says so.
    pub(crate) fn tell_of_run(&self, job: &Job, event: Event, run: &Run) -> BoxFuture<'static, ()> {
        self.tell(
            job,
            event,
            json!({
                "event": event.name(),
                "job": run.job,
                "logical_time": logical_time::text(run.logical_ms),
                "status": run.status.name(),
                "code": run.code,
                "message": run.message,
                "rows": run.rows,
                "target_version": run.committed_version,
                "file": run.file,
                "ended_at": logical_time::text(run.ended_ms),
            }),
        )
    }

    /// Tells that a release has not arrived.
    pub(crate) fn tell_overdue(&self, job: &Job, due_ms: i64) -> BoxFuture<'static, ()> {
        let body = json!({
            "event": Event::Overdue.name(),
            "job": job.definition.name,
            "logical_time": logical_time::text(due_ms),
            "schedule": job.definition.schedule.to_string(),
        });
        self.tell(job, Event::Overdue, body)
    }

    fn tell(&self, job: &Job, event: Event, body: Value) -> BoxFuture<'static, ()> {
        let notify = job.definition.notify.as_ref();
        let notify = notify.filter(|notify| notify.on.contains(&event));
        let (Some(notify), Some(key)) = (notify, &self.key) else {
            return futures::future::ready(()).boxed();
        };
        // What was allowed when the job was made may not be any more.
        let url = parsed(&notify.url).ok().filter(|url| self.is_allowed(url));
        let Some(url) = url else {
            tracing::warn!(
                url = notify.url,
                "not sent: the server does not allow it any more"
            );
            return futures::future::ready(()).boxed();
        };
        let body = body.to_string();
        let signature = signature(key, &body);
        let client = self.client.clone();
        async move {
            let send = || async {
                let request = client
                    .post(url.clone())
                    .header("content-type", "application/json")
                    .header(SIGNATURE, &signature)
                    .body(body.clone());
                request.send().await?.error_for_status()
            };
            let delays = ExponentialBuilder::default()
                .with_max_times(RETRIES)
                .with_jitter();
            if let Err(error) = send.retry(delays).sleep(tokio::time::sleep).await {
                tracing::warn!(%url, %error, "nobody could be told of a job");
            }
        }
        .boxed()
    }
}

fn signature(key: &hmac::Key, body: &str) -> String {
    let tag = hmac::sign(key, body.as_bytes());
    format!("sha256={}", hex(tag.as_ref()))
}

fn parsed(address: &str) -> Result<Url> {
    let url = Url::parse(address);
    let url = url.map_err(|error| Error::Invalid(format!("webhook {address}: {error}")))?;
    match ["http", "https"].contains(&url.scheme()) {
        true => Ok(url),
        false => Err(Error::Invalid(format!(
            "webhook {address}: it begins with http:// or https://"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_is_allowed() {
        let allowed = ["https://hooks.example.org/rare-earths/".to_owned()];
        let webhooks = Webhooks::below(&allowed, b"key").unwrap();
        for (address, is_allowed) in [
            ("https://hooks.example.org/rare-earths/new", true),
            ("https://hooks.example.org/rare-earths", true),
            ("https://hooks.example.org/rare-earths-2", false),
            ("https://hooks.example.org/rare-earths/../admin", false),
            ("https://hooks.example.org:444/rare-earths/new", false),
            ("http://hooks.example.org/rare-earths/new", false),
            ("https://me@hooks.example.org/rare-earths/new", false),
            ("https://hooks.example.org.evil.org/rare-earths/new", false),
        ] {
            let url = parsed(address).unwrap();
            assert_eq!(webhooks.is_allowed(&url), is_allowed, "{address}");
        }
    }

    /// The second test case of RFC 4231.
    #[test]
    fn a_signature_is_an_hmac() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        assert_eq!(
            signature(&key, "what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
