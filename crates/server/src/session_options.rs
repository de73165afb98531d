//! What a client sets once for many statements: by a Flight session, or by headers.

use std::time::Duration;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use didymium_engine::{CATALOG_NAME, QueryRequest, SCHEMA_NAMES};
use didymium_model::Day;
use http::{HeaderMap, header};
use tonic::Status;

use crate::request::invalid;
use crate::seal::{Purpose, Seal};

/// The cookie that carries a session: the options themselves, signed. The server keeps none.
pub(crate) const COOKIE: &str = "didymium_session";

/// What every header of an option begins with.
const HEADER: &str = "didymium-";

/// The names of the options.
pub(crate) const NAMES: [&str; 6] = [
    "catalog",
    "schema",
    "published_as_of",
    "committed_as_of",
    "time_zone",
    "timeout",
];

/// The options of a session, as they are signed. What is not set stays at its default.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SessionOptions {
    /// Days since 1970.
    #[prost(int32, optional, tag = "1")]
    published_as_of: Option<i32>,
    /// Milliseconds since 1970.
    #[prost(int64, optional, tag = "2")]
    committed_as_of_ms: Option<i64>,
    #[prost(string, optional, tag = "3")]
    time_zone: Option<String>,
    #[prost(uint64, optional, tag = "4")]
    timeout_ms: Option<u64>,
}

/// Why an option is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Untaken {
    Name,
    Value(String),
}

impl SessionOptions {
    /// Those of a call: its session's, and above them those of its headers.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, naming the header.
    pub(crate) fn of(headers: &HeaderMap, seal: &Seal) -> Result<Self, Status> {
        let mut options = Self::of_session(headers, seal);
        for name in NAMES {
            let key = format!("{HEADER}{}", name.replace('_', "-"));
            let Some(value) = headers.get(&key) else {
                continue;
            };
            let value = value
                .to_str()
                .map_err(|_| Untaken::Value("it is no text".to_owned()));
            let set = value.and_then(|value| options.set(name, Some(value)));
            set.map_err(|untaken| match untaken {
                Untaken::Name => invalid(format!("{key}: no such option")),
                Untaken::Value(why) => invalid(format!("{key}: {why}")),
            })?;
        }
        Ok(options)
    }

    /// Those of a call's session; a cookie that was not signed here is no session.
    pub(crate) fn of_session(headers: &HeaderMap, seal: &Seal) -> Self {
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
        let cookies = cookies.flat_map(|cookies| cookies.split(';'));
        let mut values = cookies.filter_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == COOKIE).then_some(value)
        });
        let session = values.find_map(|value| {
            let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
            seal.open_sealed(Purpose::Session, &sealed)
        });
        session.unwrap_or_default()
    }

    /// The header that gives them to the client, for its later calls.
    pub(crate) fn cookie(&self, seal: &Seal) -> String {
        let sealed = URL_SAFE_NO_PAD.encode(seal.seal(Purpose::Session, self));
        format!("{COOKIE}={sealed}; Path=/; HttpOnly; SameSite=Strict")
    }

    /// The header that makes the client forget them.
    pub(crate) fn no_cookie() -> String {
        format!("{COOKIE}=; Path=/; Max-Age=0")
    }

    /// Sets an option, or puts it back to its default.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Untaken> {
        let value = value.filter(|value| !value.is_empty());
        match name {
            "catalog" => only(value, CATALOG_NAME),
            "schema" => only(value, SCHEMA_NAMES[0]),
            "published_as_of" => {
                self.published_as_of = value.map(day).transpose()?.map(Day::days_from_epoch);
                Ok(())
            }
            "committed_as_of" => {
                self.committed_as_of_ms = value.map(moment_ms).transpose()?;
                Ok(())
            }
            "time_zone" => {
                let zone = value.map(time_zone).transpose();
                self.time_zone = zone.map_err(Untaken::Value)?;
                Ok(())
            }
            "timeout" => {
                self.timeout_ms = value.map(timeout_ms).transpose()?;
                Ok(())
            }
            _ => Err(Untaken::Name),
        }
    }

    /// Every option that has a value, as a text.
    pub(crate) fn listed(&self) -> Vec<(&'static str, String)> {
        let fixed = [
            ("catalog", CATALOG_NAME.to_owned()),
            ("schema", SCHEMA_NAMES[0].to_owned()),
        ];
        let set = [
            ("published_as_of", self.day().map(|day| day.to_string())),
            (
                "committed_as_of",
                self.committed_as_of_ms.map(|ms| ms.to_string()),
            ),
            ("time_zone", self.time_zone.clone()),
            (
                "timeout",
                self.timeout()
                    .map(|time| format!("{}s", time.as_secs_f64())),
            ),
        ];
        let set = set
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        fixed.into_iter().chain(set).collect()
    }

    /// Puts them into a request, which may have its own.
    pub(crate) fn put_into(&self, request: &mut QueryRequest) {
        request.published_as_of = request.published_as_of.or(self.day());
        request.committed_as_of_ms = request.committed_as_of_ms.or(self.committed_as_of_ms);
        if request.time_zone.is_none() {
            request.time_zone.clone_from(&self.time_zone);
        }
        request.limit_time(self.timeout());
    }

    fn day(&self) -> Option<Day> {
        self.published_as_of.map(Day::from_epoch)
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }
}

fn only(value: Option<&str>, known: &str) -> Result<(), Untaken> {
    match value {
        Some(value) if value != known => Err(Untaken::Value(format!(
            "'{value}': there is only '{known}'"
        ))),
        _ => Ok(()),
    }
}

fn day(value: &str) -> Result<Day, Untaken> {
    let parsed = Day::parse(value);
    parsed.ok_or_else(|| Untaken::Value(format!("'{value}' is no day such as 2024-07-01")))
}

fn moment_ms(value: &str) -> Result<i64, Untaken> {
    if let Ok(ms) = value.parse() {
        return Ok(ms);
    }
    let parsed = string_to_timestamp_nanos(value).map(|nanos| nanos.div_euclid(1_000_000));
    parsed.map_err(|_| Untaken::Value(format!("'{value}' is no time such as 2024-07-01T12:00:00Z")))
}

/// A zone that the engine knows.
pub(crate) fn time_zone(value: &str) -> Result<String, String> {
    match value.parse::<Tz>() {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err(format!("'{value}' is no time zone such as +08:00")),
    }
}

fn timeout_ms(value: &str) -> Result<u64, Untaken> {
    let seconds = value.parse::<f64>().ok();
    let time = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => humantime::parse_duration(value).ok(),
    };
    let ms = time.and_then(|time| u64::try_from(time.as_millis()).ok());
    ms.filter(|ms| *ms > 0).ok_or_else(|| {
        Untaken::Value(format!(
            "'{value}' is no time: write seconds, or 30s, or 5m"
        ))
    })
}
