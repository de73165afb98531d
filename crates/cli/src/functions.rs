//! `didymium functions`: what Didymium adds to SQL.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use didymium_engine::{FunctionDoc, functions};

use crate::args::FunctionsArgs;
use crate::failure::Failure;
use crate::output::write_batch;

/// Lists the functions and relations, or explains the ones of a name.
pub(crate) fn run(args: &FunctionsArgs) -> Result<(), Failure> {
    let all = functions();
    let Some(name) = &args.name else {
        return write_batch(list(&all)?, &args.output);
    };
    let named = |function: &&FunctionDoc| function.name.eq_ignore_ascii_case(name);
    let found: Vec<&FunctionDoc> = all.iter().filter(named).collect();
    if found.is_empty() {
        return Err(Failure::own(format!(
            "there is no function {name} of Didymium's own: `didymium functions` lists them"
        )));
    }
    let text: String = found.into_iter().map(explained).collect();
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::own(format!("can't write: {error}")))
}

fn list(functions: &[FunctionDoc]) -> Result<RecordBatch, Failure> {
    let texts = |text: fn(&FunctionDoc) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(functions.iter().map(text)))
    };
    let columns = [
        ("function_name", texts(|function| &function.name)),
        ("kind", texts(|function| function.kind)),
        ("syntax", texts(|function| &function.syntax)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn explained(function: &FunctionDoc) -> String {
    let mut text = format!(
        "{} ({})\n\n{}\n",
        function.syntax, function.kind, function.description
    );
    for (name, meaning) in &function.arguments {
        text.push_str(&format!("\n  {name}: {meaning}"));
    }
    text.push_str(&format!("\n\n{}\n", function.example));
    text
}
