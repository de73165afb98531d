//! The name of a series: one measured thing.

/// A readable, stable name made of the key's values in their order: `MIIT/mining/all//quota`.
///
/// A missing value is an empty segment. `/` and `%` inside a value are written `%2F` and `%25`, so
/// two keys never share a name.
pub fn series_name<'a>(key: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut name = String::new();
    for (i, value) in key.into_iter().enumerate() {
        if i > 0 {
            name.push('/');
        }
        for character in value.unwrap_or_default().chars() {
            match character {
                '/' => name.push_str("%2F"),
                '%' => name.push_str("%25"),
                other => name.push(other),
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_never_share_a_name() {
        assert_eq!(
            series_name([Some("China"), None, Some("mining")]),
            "China//mining"
        );
        assert_eq!(series_name([Some("a/b"), Some("100%")]), "a%2Fb/100%25");
        assert_ne!(
            series_name([Some("a/b")]),
            series_name([Some("a"), Some("b")])
        );
        assert_ne!(series_name([Some("a%2Fb")]), series_name([Some("a/b")]));
    }
}
