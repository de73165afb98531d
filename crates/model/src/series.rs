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
        for part in value.unwrap_or_default().split_inclusive(['/', '%']) {
            match part.strip_suffix(['/', '%']) {
                None => name.push_str(part),
                Some(before) => {
                    name.push_str(before);
                    name.push_str(if part.ends_with('/') { "%2F" } else { "%25" });
                }
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
