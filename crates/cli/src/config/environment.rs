//! Settings from the environment: `DIDYMIUM_` and a flag's name in capitals.

use clap::CommandFactory;

use super::{Given, Key, Origin, Value, nearest};
use crate::args::Args;
use crate::failure::Failure;

const PREFIX: &str = "DIDYMIUM_";

/// Variables that no flag stands for: the log's filter, a client's token, the tests' program.
const OTHERS: [&str; 3] = ["LOG", "TOKEN", "BIN"];

/// What the environment says. An empty variable says nothing: that is how a container's
/// description takes one back.
///
/// # Errors
/// A switch that is neither on nor off.
pub(super) fn given(keys: &[Key]) -> Result<Vec<Given>, Failure> {
    let mut given = Vec::new();
    for key in keys {
        let variable = format!("{PREFIX}{}", name_of(key));
        let Some(text) = std::env::var_os(&variable).filter(|text| !text.is_empty()) else {
            continue;
        };
        let value = match (key.is_switch, text.to_str()) {
            (false, _) => Value::Text(text),
            (true, Some("true" | "1")) => Value::Switch(true),
            (true, Some("false" | "0")) => Value::Switch(false),
            (true, _) => return Err(Failure::usage(format!("{variable} is true or false"))),
        };
        given.push(Given {
            key: key.clone(),
            value,
            origin: Origin::Environment(variable),
        });
    }
    Ok(given)
}

/// Tells the log of variables that look like settings and are none. They are not refused: others
/// set some too, as Kubernetes does for every service beside a container.
pub(crate) fn warn_of_unknown() {
    let mut known: Vec<String> = Key::all().iter().map(name_of).collect();
    known.extend(names(&Args::command()));
    known.extend(OTHERS.map(str::to_owned));
    for (variable, _) in std::env::vars_os() {
        let Some(name) = variable.to_str().and_then(|it| it.strip_prefix(PREFIX)) else {
            continue;
        };
        if known.iter().any(|known| known == name) {
            continue;
        }
        let meant = nearest(name, known.iter().map(String::as_str));
        let hint = meant.map(|meant| format!(": did you mean {PREFIX}{meant}?"));
        let hint = hint.unwrap_or_default();
        tracing::warn!("no setting has the variable {PREFIX}{name}{hint}");
    }
}

fn name_of(key: &Key) -> String {
    key.name.to_uppercase()
}

/// The variables that a command and those below it read, without the prefix.
fn names(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(clap::Arg::get_env);
    let own = own.filter_map(|variable| variable.to_str()?.strip_prefix(PREFIX));
    let mut all: Vec<String> = own.map(str::to_owned).collect();
    for below in command.get_subcommands() {
        all.extend(names(below));
    }
    all
}
