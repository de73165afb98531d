//! Paths of exported files, with the run's time in them, so that no run writes over another's.

use std::fmt;

use chrono::DateTime;
use chrono_tz::Tz;
use didymium_engine::Format;
use serde::{Deserialize, Serialize};

use crate::logical_time::{day, period_before};

/// A path below the folder of exports, such as `growth/{run_date}/{run_time}.parquet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(String);

const PATH_BYTES: usize = 512;

const RUN_TIME: &str = "{run_time}";

const PLACEHOLDERS: [&str; 5] = [
    RUN_TIME,
    "{run_date}",
    "{period_start}",
    "{period_end}",
    "{job}",
];

impl TryFrom<String> for PathTemplate {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        let refused = |rule: &str| Err(format!("file '{path}': {rule}"));
        if path.len() > PATH_BYTES {
            return Err(format!("file: a path has at most {PATH_BYTES} bytes"));
        }
        for segment in path.split('/') {
            if segment.is_empty() {
                return refused("a relative path, with a name between any two /");
            }
            if segment.starts_with(['.', '_']) {
                return refused("no name in it starts with . or _: such files are hidden");
            }
        }
        if !without_placeholders(&path).chars().all(is_plain) {
            return refused(&format!(
                "letters, digits, _ - . = / and the placeholders {}",
                PLACEHOLDERS.join(" ")
            ));
        }
        if !path.contains(RUN_TIME) {
            return refused("name {run_time} in it: each run writes a file of its own");
        }
        if format_of(&path).is_none() {
            return refused("it ends in .parquet, .csv or .arrow");
        }
        Ok(Self(path))
    }
}

/// Each leaves a `/`, which no name has: what stood around it can't become another placeholder.
fn without_placeholders(path: &str) -> String {
    let mut rest = path.to_owned();
    for placeholder in PLACEHOLDERS {
        rest = rest.replace(placeholder, "/");
    }
    rest
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-.=/".contains(letter)
}

fn format_of(path: &str) -> Option<Format> {
    let (_, ending) = path.rsplit_once('.')?;
    match ending {
        "parquet" => Some(Format::Parquet),
        "csv" => Some(Format::Csv),
        "arrow" => Some(Format::Arrow),
        _ => None,
    }
}

impl PathTemplate {
    /// The form of the file, by its ending.
    pub fn format(&self) -> Format {
        format_of(&self.0).expect("a template was checked to end in a form")
    }

    /// The path of one run's file; days are those of the zone.
    pub fn path(&self, job: &str, logical_ms: i64, zone: Tz) -> String {
        let run_date = day(logical_ms, zone);
        let (start, end) = period_before(run_date);
        let values = [
            compact(logical_ms),
            run_date.to_string(),
            start.to_string(),
            end.to_string(),
            job.to_owned(),
        ];
        let mut path = self.0.clone();
        for (placeholder, value) in PLACEHOLDERS.iter().zip(values) {
            path = path.replace(placeholder, &value);
        }
        path
    }
}

/// ISO 8601 without the `:` that some file systems refuse.
fn compact(logical_ms: i64) -> String {
    let form = if logical_ms % 1000 == 0 {
        "%Y%m%dT%H%M%SZ"
    } else {
        "%Y%m%dT%H%M%S%.3fZ"
    };
    match DateTime::from_timestamp_millis(logical_ms) {
        Some(time) => time.format(form).to_string(),
        None => logical_ms.to_string(),
    }
}

impl From<PathTemplate> for String {
    fn from(template: PathTemplate) -> Self {
        template.0
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical_time::parse;

    fn template(path: &str) -> Result<PathTemplate, String> {
        path.to_owned().try_into()
    }

    #[test]
    fn a_path_names_its_run() {
        for (path, time, zone, named) in [
            (
                "{job}/{run_time}.parquet",
                "2026-05-31T06:00:00Z",
                Tz::UTC,
                "growth/20260531T060000Z.parquet",
            ),
            (
                "{run_time}.csv",
                "2026-05-31T06:00:00.250Z",
                Tz::UTC,
                "20260531T060000.250Z.csv",
            ),
            (
                "day={run_date}/{period_start}_{period_end}-{run_time}.arrow",
                "2026-05-31T17:30:00Z",
                Tz::Asia__Shanghai,
                "day=2026-06-01/2026-05-01_2026-05-31-20260531T173000Z.arrow",
            ),
        ] {
            let template = template(path).unwrap();
            assert_eq!(template.path("growth", parse(time).unwrap(), zone), named);
        }
    }

    #[test]
    fn the_ending_is_the_form_and_the_text_comes_back() {
        for (path, format) in [
            ("a/{run_time}.parquet", Format::Parquet),
            ("a/{run_time}.csv", Format::Csv),
            ("a/{run_time}.arrow", Format::Arrow),
        ] {
            let template = template(path).unwrap();
            assert_eq!(template.format(), format);
            assert_eq!(template.to_string(), path);
            let json = serde_json::to_string(&template).unwrap();
            assert_eq!(json, format!("\"{path}\""));
            assert_eq!(
                serde_json::from_str::<PathTemplate>(&json).unwrap(),
                template
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let long = format!("{}/{{run_time}}.csv", "a".repeat(512));
        for (path, said) in [
            ("", "a relative path"),
            ("/etc/{run_time}.csv", "a relative path"),
            ("a//{run_time}.csv", "a relative path"),
            ("../{run_time}.csv", "hidden"),
            ("a/./{run_time}.csv", "hidden"),
            ("_log/{run_time}.csv", "hidden"),
            ("a/.{run_time}.csv", "hidden"),
            ("a\\{run_time}.csv", "letters, digits"),
            ("é/{run_time}.csv", "letters, digits"),
            ("{run_time}{time}.csv", "{period_start}"),
            ("{run_{job}time}.csv", "letters, digits"),
            ("{run_time.csv", "letters, digits"),
            ("a/{run_date}.csv", "name {run_time}"),
            ("a/{run_time}.json", ".parquet, .csv or .arrow"),
            ("a/{run_time}", ".parquet, .csv or .arrow"),
            (long.as_str(), "512 bytes"),
        ] {
            let error = template(path).unwrap_err();
            assert!(error.contains(said), "{path}: {error}");
        }
    }
}
