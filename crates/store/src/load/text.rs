//! The characters and the cell separator of a text file.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, GB18030, GBK, UTF_8};

/// Separators that a CSV file may have.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How many records are looked at to find the separator.
const LOOKED_AT: usize = 20;

/// The text of a file: UTF-8 with or without a byte-order mark, UTF-16 with one, GB18030; any other
/// only by name, since a guess among the single-byte ones would turn letters into other letters.
pub(super) fn decode<'a>(bytes: &'a [u8], named: Option<&str>) -> Result<Cow<'a, str>, String> {
    if let Some(name) = named {
        let encoding = Encoding::for_label(name.as_bytes()).ok_or_else(|| {
            format!(
                "{name} is no encoding: use its name on the web, such as gb18030 or windows-1252"
            )
        })?;
        return decoded(bytes, encoding);
    }
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return decoded(bytes, encoding);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    if guess == GBK || guess == GB18030 {
        return decoded(bytes, GB18030);
    }
    Err(format!(
        "is neither UTF-8 nor GB18030 (it may be {}): name its encoding with --encoding",
        guess.name().to_lowercase()
    ))
}

fn decoded<'a>(bytes: &'a [u8], encoding: &'static Encoding) -> Result<Cow<'a, str>, String> {
    let (text, used, broken) = encoding.decode(bytes);
    if !broken {
        return Ok(text);
    }
    if used == UTF_8 {
        let line = lines_before_damage(bytes);
        return Err(format!("is not readable as UTF-8 from line {line} on"));
    }
    Err(format!("is not readable as {}", used.name().to_lowercase()))
}

fn lines_before_damage(bytes: &[u8]) -> usize {
    let good = match std::str::from_utf8(bytes) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    bytes[..good].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The separator that cuts the first records into equally many cells, and into most; else the comma.
pub(super) fn separator(text: &str) -> u8 {
    let width = |separator: u8| {
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .from_reader(text.as_bytes());
        let widths: Vec<usize> = reader
            .records()
            .take(LOOKED_AT)
            .map_while(Result::ok)
            .map(|record| record.len())
            .collect();
        let first = *widths.first()?;
        let even = widths.iter().all(|width| *width == first);
        (first > 1).then_some((even, first))
    };
    // Of two that are as good the first one of the list.
    let best = SEPARATORS
        .iter()
        .rev()
        .filter_map(|separator| Some((width(*separator)?, *separator)))
        .max_by_key(|(width, _)| *width);
    best.map_or(b',', |(_, separator)| separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_what_it_is() {
        let notice =
            "产品,产量\n氧化镨钕,13万吨\n氧化镝,2,400吨\n稀土矿产品和冶炼分离产品总量控制指标\n";
        let (gb, _, _) = GB18030.encode(notice);
        assert_eq!(decode(&gb, None).as_deref(), Ok(notice));
        assert_eq!(decode(notice.as_bytes(), None).as_deref(), Ok(notice));
        let with_mark = format!("\u{feff}{notice}");
        assert_eq!(decode(with_mark.as_bytes(), None).as_deref(), Ok(notice));
        let latin =
            b"pa\xefs,tonnes\nC\xf4te d'Ivoire,3\nBr\xe9sil,5\nR\xe9publique d\xe9mocratique,7\n";
        let error = decode(latin, None).expect_err("not guessed");
        assert!(error.contains("windows-1252"), "{error}");
        let named = decode(latin, Some("windows-1252")).expect("named");
        assert!(named.contains("Côte d'Ivoire"), "{named}");
        assert!(decode(latin, Some("utf-9")).is_err());
        let error = decode(b"a,b\n1,\xff\n", Some("utf-8")).expect_err("broken");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn the_separator_is_found() {
        assert_eq!(separator("a,b\n1,2\n"), b',');
        assert_eq!(separator("a;b;c\n1,5;2;3\n"), b';');
        assert_eq!(separator("a\tb\n1,000\t2\n"), b'\t');
        assert_eq!(separator("a|b\n\"1|2\"|3\n"), b'|');
        assert_eq!(separator("one\n1\n2\n"), b',');
        assert_eq!(separator("a,b,c\n1,2\n"), b',');
        assert_eq!(separator(""), b',');
    }
}
