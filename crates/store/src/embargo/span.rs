//! Which sources a file may hold, by what the log says of it.

use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;
use serde_json::Value;

use super::SOURCE;
use crate::data_file::DataFile;
use crate::file_order::SORTED_BY;

/// The sources that come first and last in a file; `None` where the log does not say it for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span(Option<(String, String)>);

impl Span {
    pub(super) fn of_file(file: &DataFile, column: usize) -> Self {
        let exact = |bound: &Precision<ScalarValue>| match bound {
            Precision::Exact(ScalarValue::Utf8(Some(source))) => Some(source.clone()),
            _ => None,
        };
        let known = file.statistics.column_statistics.get(column);
        Self(known.and_then(|it| Some((exact(&it.min_value)?, exact(&it.max_value)?))))
    }

    /// That of the file which a line of the log adds, by the line and its statistics.
    pub(crate) fn of_add(add: &Value, statistics: &Value) -> Self {
        // Other programs cut long texts.
        let is_ours = add["tags"][SORTED_BY].is_string();
        let source = |bounds: &str| statistics[bounds][SOURCE].as_str().map(str::to_owned);
        let known = source("minValues").zip(source("maxValues"));
        Self(known.filter(|_| is_ours))
    }

    pub(super) fn may_hold(&self, hidden: &[String]) -> bool {
        match &self.0 {
            Some((first, last)) => hidden.iter().any(|it| first <= it && it <= last),
            None => !hidden.is_empty(),
        }
    }

    pub(super) fn is_only_of(&self, hidden: &[String]) -> bool {
        let is_hidden = |source| hidden.binary_search(source).is_ok();
        matches!(&self.0, Some((first, last)) if is_hidden(first) && is_hidden(last))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(first: &str, last: &str) -> Span {
        Span(Some((first.to_owned(), last.to_owned())))
    }

    #[test]
    fn a_file_may_hold_what_lies_within_its_span() {
        let hidden = ["c".to_owned(), "f".to_owned()];
        for (first, last, may_hold, is_only) in [
            ("a", "b", false, false),
            ("a", "c", true, false),
            ("c", "c", true, true),
            ("c", "f", true, true),
            ("d", "e", false, false),
            ("d", "g", true, false),
            ("g", "h", false, false),
        ] {
            let span = span(first, last);
            assert_eq!(span.may_hold(&hidden), may_hold, "{span:?}");
            assert_eq!(span.is_only_of(&hidden), is_only, "{span:?}");
        }
        assert!(Span(None).may_hold(&hidden) && !Span(None).is_only_of(&hidden));
        for span in [Span(None), span("a", "z")] {
            assert!(!span.may_hold(&[]), "nothing is hidden: {span:?}");
        }
    }

    #[test]
    fn the_log_is_believed_of_files_of_our_own() {
        let statistics = json!({"minValues": {SOURCE: "a"}, "maxValues": {SOURCE: "b"}});
        let ours = json!({"tags": {SORTED_BY: "series"}});
        assert_eq!(Span::of_add(&ours, &statistics), span("a", "b"));
        assert_eq!(Span::of_add(&json!({}), &statistics), Span(None));
        assert_eq!(Span::of_add(&ours, &Value::Null), Span(None));
    }
}
