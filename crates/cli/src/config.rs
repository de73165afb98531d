//! The settings of `didymium serve`: flags, then the environment, then a file, then defaults.
//!
//! Clap knows every flag with its parser, default and conflicts. So the variables and the keys of
//! the file are derived from the flags, and what they say is put beside what was typed and parsed
//! with it: there is no second list of settings, and no second set of rules.

pub(crate) mod environment;
mod file;
pub(crate) mod print;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Flags that say what to do with the settings: neither a variable nor a key stands for them.
const ACTIONS: [&str; 2] = ["check_config", "print_config"];

/// How near a name must be to be taken for a typing mistake.
const NEAR: f64 = 0.75;

/// One setting as the server runs with it.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    name: String,
    /// None where nothing was said and there is no default.
    value: Option<toml::Value>,
    origin: Origin,
}

/// Who said what a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    Flag,
    Environment(String),
    File { file: PathBuf, line: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag => f.write_str("flag"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::File { file, .. } => write!(f, "file {}", file.display()),
        }
    }
}

/// A flag of `serve`, and how others call it.
#[derive(Debug, Clone)]
struct Key {
    /// Clap's name for it.
    id: String,
    /// As the file has it: `max_running`.
    name: String,
    /// As it is typed: `--max-running`.
    flag: String,
    /// Whether it takes no value.
    is_switch: bool,
}

impl Key {
    fn of(argument: &clap::Arg) -> Option<Self> {
        let long = argument.get_long()?;
        Some(Self {
            id: argument.get_id().as_str().to_owned(),
            name: long.replace('-', "_"),
            flag: format!("--{long}"),
            is_switch: matches!(argument.get_action(), ArgAction::SetTrue),
        })
    }

    /// Every flag of `serve` that is a setting.
    fn all() -> Vec<Self> {
        let command = Args::command();
        let serve = command.find_subcommand("serve");
        let arguments = serve.into_iter().flat_map(clap::Command::get_arguments);
        let keys = arguments.filter_map(Self::of);
        keys.filter(|key| !ACTIONS.contains(&key.name.as_str()))
            .collect()
    }

    fn is_typed(&self, serve: &ArgMatches) -> bool {
        serve.value_source(&self.id) == Some(ValueSource::CommandLine)
    }
}

/// What a variable or the file says of a setting.
#[derive(Debug, Clone)]
struct Given {
    key: Key,
    value: Value,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Value {
    Switch(bool),
    Text(OsString),
}

impl Given {
    /// As it would be typed; a switch that is off is not typed at all.
    fn argument(&self) -> Option<OsString> {
        match &self.value {
            Value::Switch(is_on) => is_on.then(|| OsString::from(&self.key.flag)),
            Value::Text(text) => {
                let mut argument = OsString::from(format!("{}=", self.key.flag));
                argument.push(text);
                Some(argument)
            }
        }
    }

    /// Where to look when it is wrong.
    fn place(&self) -> String {
        let name = &self.key.name;
        match &self.origin {
            Origin::Environment(variable) => variable.clone(),
            Origin::File { file, line } => format!("{}, line {line}: {name}", file.display()),
            Origin::Default | Origin::Flag => name.clone(),
        }
    }
}

/// The command line; for `serve`, with what the environment and the file add to it. Ends the
/// process as clap does, for help and for what was typed wrongly; what others said wrongly is a
/// fault of the configuration.
pub(crate) fn parse() -> Result<Args, Failure> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    // What is required may be in the file, so nothing is judged yet.
    let probe = Args::command()
        .ignore_errors(true)
        .try_get_matches_from(&typed);
    let Some(("serve", serve)) = probe.as_ref().ok().and_then(ArgMatches::subcommand) else {
        return Ok(Args::parse_from(typed));
    };
    let is_check = serve.value_source("check_config") == Some(ValueSource::CommandLine);
    settled(typed, serve, is_check).map_err(Failure::of_configuration)
}

fn settled(typed: Vec<OsString>, serve: &ArgMatches, is_check: bool) -> Result<Args, Failure> {
    let keys = Key::all();
    let given = given(&keys, serve)?;
    let refused = |error| refused(&error, &given, is_check);
    let arguments = with_given(typed, &given);
    let matches = Args::command().try_get_matches_from(arguments);
    let matches = matches.map_err(refused)?;
    let mut args = Args::from_arg_matches(&matches).map_err(refused)?;
    if let (Command::Serve(args), Some(serve)) =
        (&mut args.command, matches.subcommand_matches("serve"))
    {
        let settings = keys.iter().map(|key| setting(key, serve, &given));
        args.config.settings = settings.collect();
    }
    Ok(args)
}

/// What the environment and the file say of that which was not typed, each setting once.
fn given(keys: &[Key], serve: &ArgMatches) -> Result<Vec<Given>, Failure> {
    let mut given = environment::given(keys)?;
    given.retain(|it| !it.key.is_typed(serve));
    let typed = serve.get_one::<PathBuf>(file::CONFIG).cloned();
    let Some(file) = typed.or_else(|| file_in(&given)) else {
        return Ok(given);
    };
    for it in file::given(&file, keys)? {
        let is_said = given.iter().any(|other| other.key.id == it.key.id);
        if !is_said && !it.key.is_typed(serve) {
            given.push(it);
        }
    }
    Ok(given)
}

fn file_in(given: &[Given]) -> Option<PathBuf> {
    let it = given.iter().find(|it| it.key.name == file::CONFIG)?;
    match &it.value {
        Value::Text(file) => Some(file.into()),
        Value::Switch(_) => None,
    }
}

/// The arguments as if all had been typed. What was typed comes first, and so do its faults.
fn with_given(mut typed: Vec<OsString>, given: &[Given]) -> Vec<OsString> {
    // No flag is one any more behind this.
    let end = typed.iter().position(|argument| argument == "--");
    let rest = typed.split_off(end.unwrap_or(typed.len()));
    typed.extend(given.iter().filter_map(Given::argument));
    typed.extend(rest);
    typed
}

fn setting(key: &Key, serve: &ArgMatches, given: &[Given]) -> Setting {
    let raw = serve.get_raw(&key.id).and_then(|mut values| values.next());
    let value = match key.is_switch {
        true => Some(toml::Value::Boolean(serve.get_flag(&key.id))),
        false => raw.map(|text| print::value_of(&text.to_string_lossy())),
    };
    let origin = match given.iter().find(|it| it.key.id == key.id) {
        Some(it) => it.origin.clone(),
        None if key.is_typed(serve) => Origin::Flag,
        None => Origin::Default,
    };
    Setting {
        name: key.name.clone(),
        value,
        origin,
    }
}

/// Clap's message under the names that the settings have where they were given. What was typed
/// itself, clap reports itself.
fn refused(error: &clap::Error, given: &[Given], is_check: bool) -> Failure {
    let flags = flags_of(error);
    let meant = given.iter().filter(|it| flags.contains(&it.key.flag));
    let places: Vec<String> = meant.map(Given::place).collect();
    if !error.use_stderr() || (places.is_empty() && !is_check) {
        error.exit();
    }
    let text = error.render().to_string();
    let mut message = text.strip_prefix("error: ").unwrap_or(&text);
    for end in ["\n\nUsage:", "\n\nFor more information"] {
        message = message.split_once(end).map_or(message, |(text, _)| text);
    }
    let message = message.trim_end();
    Failure::usage(match places.is_empty() {
        true => message.to_owned(),
        false => format!("{}: {message}", places.join("; ")),
    })
}

/// The flags that an error is about.
fn flags_of(error: &clap::Error) -> Vec<String> {
    // Clap shows a flag with its value: `--memory <SIZE>`.
    let flag = |shown: &String| {
        let end = shown.find([' ', '=']).unwrap_or(shown.len());
        shown[..end].to_owned()
    };
    let mut flags = Vec::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match error.get(kind) {
            Some(ContextValue::String(shown)) => flags.push(flag(shown)),
            Some(ContextValue::Strings(shown)) => flags.extend(shown.iter().map(flag)),
            _ => {}
        }
    }
    flags
}

/// The known name that a typing mistake may have meant.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known));
    scored
        .filter(|(score, _)| *score > NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
