//! `didymium serve --print-config`: what the server would run with, and who said so.

use std::io::Write as _;

use super::{Setting, file};
use crate::failure::Failure;

/// Prints the settings as a file that `--config` takes. None is a secret: keys and tokens are named by their
/// files.
pub(crate) fn print(settings: &[Setting]) -> Result<(), Failure> {
    let lines: String = settings.iter().map(line).collect();
    std::io::stdout().write_all(lines.as_bytes())?;
    Ok(())
}

/// One setting. What no file can say is a comment: what is not set, and the file itself.
fn line(setting: &Setting) -> String {
    let Setting {
        name,
        value,
        origin,
    } = setting;
    match value {
        None => format!("# {name} is not set  # {origin}\n"),
        Some(value) if name == file::CONFIG => format!("# {name} = {value}  # {origin}\n"),
        Some(value) => format!("{name} = {value}  # {origin}\n"),
    }
}

/// A value as one would write it: numbers without quotation marks.
pub(super) fn value_of(text: &str) -> toml::Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => toml::Value::Integer(number),
        _ => toml::Value::String(text.to_owned()),
    }
}
