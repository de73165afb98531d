//! The file of settings: TOML, whose keys are the flags of `serve` with `_` for `-`.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Given, Key, Origin, Value, nearest};
use crate::failure::{Failure, read_text};

/// The setting that names the file, which no file can say.
pub(super) const CONFIG: &str = "config";

/// What a file says. A key that no flag has is refused: a limit with a typing mistake in its name
/// is no limit.
///
/// # Errors
/// What is wrong with the file, with its name and the line.
pub(super) fn given(file: &Path, keys: &[Key]) -> Result<Vec<Given>, Failure> {
    let text = read_text(file)?;
    let wrong = |at: usize, reason: &str| {
        let line = line_of(&text, at);
        Failure::usage(format!("{}, line {line}: {reason}", file.display()))
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        wrong(start, error.message())
    })?;
    let mut given = Vec::new();
    for (name, value) in table.get_ref().iter() {
        let start = name.span().start;
        let name: &str = name.get_ref();
        let key = find(name, keys).map_err(|reason| wrong(start, &reason))?;
        let value = value_of(key, value).map_err(|reason| wrong(start, &reason))?;
        given.push(Given {
            key: key.clone(),
            value,
            origin: Origin::File {
                file: file.to_owned(),
                line: line_of(&text, start),
            },
        });
    }
    Ok(given)
}

fn find<'a>(name: &str, keys: &'a [Key]) -> Result<&'a Key, String> {
    let known = || keys.iter().filter(|key| key.name != CONFIG);
    if let Some(key) = known().find(|key| key.name == name) {
        return Ok(key);
    }
    let meant = nearest(name, known().map(|key| key.name.as_str()));
    let hint = meant.map_or_else(
        || "`didymium serve --help` lists what there is".to_owned(),
        |meant| format!("did you mean {meant}?"),
    );
    Err(format!("there is no setting {name}: {hint}"))
}

fn value_of(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let name = &key.name;
    match (value.get_ref(), key.is_switch) {
        (DeValue::Boolean(is_on), true) => Ok(Value::Switch(*is_on)),
        (_, true) => Err(format!("{name} is true or false")),
        (DeValue::String(text), false) => Ok(Value::Text(text.to_string().into())),
        (DeValue::Integer(number), false) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            let number = number.map_err(|_| format!("{name}: the number is too large"))?;
            Ok(Value::Text(number.to_string().into()))
        }
        (_, false) => Err(format!("{name} is a text or a whole number")),
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.bytes().take(at);
    1 + before.filter(|byte| *byte == b'\n').count()
}
