//! What a job is: a query, when it is due, where its rows go, and what is done when it fails.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use didymium_engine::Value;
use didymium_model::Day;
use didymium_store::is_identifier;
use serde::{Deserialize, Serialize};

use crate::path_template::PathTemplate;
use crate::{Error, Result, Schedule};

/// A job as its author writes it, in TOML or through the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name: lower-case letters, digits and `_`.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// One SELECT statement. It may name `$run_time`, `$run_date`, `$period_start`, `$period_end` and the
    /// job's own parameters.
    pub sql: String,
    /// When it is due.
    pub schedule: Schedule,
    /// Where its rows go.
    pub target: Target,
    /// The values of its own parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, ParameterValue>,
    /// What is done when it is late, slow or fails.
    #[serde(default)]
    pub policy: Policy,
    /// What must hold of its rows before they land.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Who is told of its runs.
    #[serde(default)]
    pub notify: Option<Notify>,
}

/// The value of a parameter of a job's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Double(f64),
    /// Text.
    Text(String),
    /// A calendar day, `{ date = "2026-03-31" }`.
    Date {
        /// The day.
        date: String,
    },
}

/// Where the rows of a run go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TargetText", into = "TargetText")]
pub enum Target {
    /// Into a table, in one commit.
    Table {
        /// Its name. A plain table that is not there is made by the first run.
        table: String,
        /// How.
        mode: Mode,
    },
    /// Into a file of its own.
    File {
        /// Its path in the folder of exports, with the run's time in it. The ending gives the form: `.parquet`,
        /// `.csv` or `.arrow`.
        path: PathTemplate,
    },
}

/// How rows go into a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Beside those that are there.
    #[default]
    Append,
    /// In the place of all that a plain table holds.
    Replace,
    /// In the place of those rows of a plain table that have the same periods: `period_start` and
    /// `period_end`, or `period`.
    ReplacePeriod,
    /// As new vintages of a series table, where they say something new.
    Upsert,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetText {
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { table, mode } => write!(f, "table {table}, {}", mode.name()),
            Self::File { path } => write!(f, "file {path}"),
        }
    }
}

impl Mode {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
            Self::ReplacePeriod => "replace_period",
            Self::Upsert => "upsert",
        }
    }
}

impl TryFrom<TargetText> for Target {
    type Error = String;

    fn try_from(text: TargetText) -> Result<Self, String> {
        match (text.table, text.file) {
            (Some(table), None) => Ok(Self::Table {
                table,
                mode: text.mode.unwrap_or_default(),
            }),
            (None, Some(_)) if text.mode.is_some() => {
                Err("a target that is a file has no mode: each run writes its own".to_owned())
            }
            (None, Some(path)) => Ok(Self::File {
                path: path.try_into()?,
            }),
            _ => Err("a target is either a table or a file".to_owned()),
        }
    }
}

impl From<Target> for TargetText {
    fn from(target: Target) -> Self {
        match target {
            Target::Table { table, mode } => Self {
                table: Some(table),
                mode: Some(mode),
                file: None,
            },
            Target::File { path } => Self {
                table: None,
                mode: None,
                file: Some(path.into()),
            },
        }
    }
}

/// What is done when a job is late, slow or fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Which runs are made up for that fell due while no server ran.
    pub catch_up: CatchUp,
    /// The most of them, the newest ones; the others are noted as skipped.
    pub catch_up_limit: u32,
    /// What comes of a run that falls due while the one before it runs. By default it is skipped, but
    /// after a commit it waits: a figure that has arrived must not be missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// Time for one run, all attempts together.
    #[serde(with = "humantime_text")]
    pub timeout: Duration,
    /// Attempts after the first, for faults that may pass.
    pub retries: u32,
    /// After so many failed runs one after the other the job rests until it is resumed; 0 for never.
    pub suspend_after: u32,
    /// The day up to which a run knows what was published.
    pub knowledge: Knowledge,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            catch_up: CatchUp::Latest,
            catch_up_limit: 100,
            overlap: None,
            timeout: Duration::from_secs(600),
            retries: 3,
            suspend_after: 10,
            knowledge: Knowledge::Auto,
        }
    }
}

impl Policy {
    /// Time for one run, all attempts together, at most.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
    /// The most attempts after the first.
    pub const MOST_RETRIES: u32 = 20;
    /// The most runs that are made up for at once.
    pub const MOST_CAUGHT_UP: u32 = 10_000;
}

/// Which runs are made up for that fell due while no server ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// None.
    None,
    /// The newest.
    #[default]
    Latest,
    /// All, up to the limit.
    All,
}

/// What comes of a run that falls due while the one before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped.
    Skip,
    /// It waits; of several the newest.
    Queue,
}

/// The day up to which a run knows what was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Knowledge {
    /// The day of its logical time where it is made up for or backfilled, else all that is known.
    #[default]
    Auto,
    /// The day of its logical time.
    RunDate,
    /// All that is known when it runs.
    Now,
}

/// What must hold of a run's rows before they land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What it checks.
    pub name: String,
    /// A SELECT statement over the table `result` and all others that gives the rows that are wrong: none
    /// where all is well.
    pub sql: String,
}

/// Who is told of a job's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// An address below one that the server allows (`--webhook-allow`). It is sent a signed JSON body.
    pub url: String,
    /// Of what; by default of all but `succeeded`.
    #[serde(default = "Event::all_but_succeeded")]
    pub on: Vec<Event>,
}

/// What somebody is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run succeeded.
    Succeeded,
    /// A run failed.
    Failed,
    /// The job was suspended: too many runs failed.
    Suspended,
    /// A release has not arrived by its day.
    Overdue,
}

impl Event {
    fn all_but_succeeded() -> Vec<Self> {
        vec![Self::Failed, Self::Suspended, Self::Overdue]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Suspended => "suspended",
            Self::Overdue => "overdue",
        }
    }
}

/// The parameters that every run has.
pub(crate) const RUN_PARAMETERS: [&str; 4] = ["run_time", "run_date", "period_start", "period_end"];

/// The table of a run's rows.
pub(crate) const RESULT: &str = "result";

/// The longest name.
const NAME_BYTES: usize = 100;

/// Checks of one job.
const CHECKS: usize = 20;

impl Definition {
    /// Reads a definition and refuses what can't be meant.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the place.
    pub fn parse(toml: &str) -> Result<Self> {
        let read: Self = toml::from_str(toml)
            .map_err(|error| Error::Invalid(format!("the job's definition: {error}")))?;
        read.check()?;
        Ok(read)
    }

    /// Refuses what can't be meant, whatever the store holds.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the field and the rule.
    pub fn check(&self) -> Result<()> {
        let invalid = |rule: String| Err(Error::Invalid(format!("job {}: {rule}", self.name)));
        if !is_name(&self.name) {
            return invalid(format!(
                "a name has at most {NAME_BYTES} lower-case letters, digits and _, and starts with a letter"
            ));
        }
        if self.sql.trim().is_empty() {
            return invalid("sql is empty: it is one SELECT statement".to_owned());
        }
        if let Target::Table { table, .. } = &self.target
            && !is_name(table)
        {
            return invalid(format!("'{table}' is no table's name"));
        }
        if self.target_table() == Some(RESULT) {
            return invalid(format!(
                "'{RESULT}' is what checks call the rows of a run: choose another target"
            ));
        }
        for (name, value) in &self.parameters {
            if RUN_PARAMETERS.contains(&name.as_str()) {
                return invalid(format!(
                    "every run has a ${name} of its own: call the parameter otherwise"
                ));
            }
            if let ParameterValue::Date { date } = value
                && Day::parse(date).is_none()
            {
                return invalid(format!(
                    "parameter {name}: '{date}' is no day such as 2026-03-31"
                ));
            }
        }
        if self.checks.len() > CHECKS {
            return invalid(format!("at most {CHECKS} checks"));
        }
        if let Some(check) = self.checks.iter().find(|it| it.sql.trim().is_empty()) {
            return invalid(format!("check {}: sql is empty", check.name));
        }
        let policy = &self.policy;
        if policy.timeout.is_zero() || policy.timeout > Policy::LONGEST {
            return invalid("timeout must be more than nothing and at most 24 hours".to_owned());
        }
        if policy.retries > Policy::MOST_RETRIES {
            return invalid(format!("at most {} retries", Policy::MOST_RETRIES));
        }
        if policy.catch_up_limit == 0 || policy.catch_up_limit > Policy::MOST_CAUGHT_UP {
            return invalid(format!(
                "catch_up_limit must be 1 to {}: `catch_up = \"none\"` makes up for nothing",
                Policy::MOST_CAUGHT_UP
            ));
        }
        if self.schedule.after() == Some(self.name.as_str()) {
            return invalid("it can't come after itself".to_owned());
        }
        if self.schedule.watched().is_some() && self.schedule.watched() == self.target_table() {
            return invalid(
                "it would start itself: its target is the table that it waits for".to_owned(),
            );
        }
        Ok(())
    }

    /// The table that its rows go into.
    pub fn target_table(&self) -> Option<&str> {
        match &self.target {
            Target::Table { table, .. } => Some(table),
            Target::File { .. } => None,
        }
    }

    /// What comes of a run that falls due while the one before it runs.
    pub fn overlap(&self) -> Overlap {
        let waits = self.schedule.on_commit().is_some();
        let by_default = if waits { Overlap::Queue } else { Overlap::Skip };
        self.policy.overlap.unwrap_or(by_default)
    }
}

impl ParameterValue {
    /// As the engine takes it.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Text(value) => Value::Text(value.clone()),
            Self::Date { date } => Day::parse(date).map_or(Value::Null, Value::Date),
        }
    }
}

/// A table's name that is not too long.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES && is_identifier(name)
}

/// A duration as people write it, `10 minutes`.
pub(crate) mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|error| {
            serde::de::Error::custom(format!("'{text}' is no time such as '10 minutes': {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: &str = r#"
        name = "growth"
        sql = "SELECT 1 AS x"
        schedule = { cron = "0 6 * * *", zone = "Asia/Shanghai" }
        target = { table = "growth", mode = "replace" }
        policy = { catch_up = "all", timeout = "10 minutes" }
        parameters = { element = "NdPr", least = 3, day = { date = "2026-03-31" } }
        checks = [{ name = "rows", sql = "SELECT 1 FROM result WHERE x IS NULL" }]
    "#;

    #[test]
    fn a_definition_comes_back_from_json() {
        let definition = Definition::parse(GROWTH).unwrap();
        assert_eq!(definition.policy.timeout, Duration::from_secs(600));
        assert_eq!(definition.overlap(), Overlap::Skip);
        let json = serde_json::to_string(&definition).unwrap();
        assert_eq!(
            serde_json::from_str::<Definition>(&json).unwrap(),
            definition
        );
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (from, to, said) in [
            ("\"growth\"\n", "\"Growth\"\n", "lower-case"),
            ("SELECT 1 AS x", " ", "sql is empty"),
            ("table = \"growth\", ", "", "either a table or a file"),
            ("least = 3", "run_date = 3", "$run_date"),
            ("2026-03-31", "2026-02-30", "no day"),
            ("10 minutes", "ten minutes", "no time such as"),
            ("10 minutes", "3 days", "24 hours"),
            ("catch_up =", "catchup =", "catchup"),
        ] {
            assert!(GROWTH.contains(from), "{from}");
            let error = Definition::parse(&GROWTH.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
    }
}
