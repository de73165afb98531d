//! Numbers as people and agencies print them.

use crate::Measure;

/// A number as it is printed: its value, and the unit that was printed with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrintedNumber<'a> {
    /// The value, in `unit` where there is one. Always finite, and zero has no sign.
    pub value: f64,
    /// The mass that was printed after the number, by a name that [`Measure::named`] knows.
    pub unit: Option<&'a str>,
    /// Half a unit in the last printed digit, in the number's unit: 0.5 in 万吨 for 13万吨.
    pub precision: f64,
}

impl<'a> PrintedNumber<'a> {
    /// Reads one number: its digits, 万 or 亿 for ten thousands and hundred millions, and a mass.
    ///
    /// Commas, spaces or apostrophes may part the groups of three digits of a whole number. `1,23` and
    /// `0,123` have no such groups, so they are `None`: a comma there is some other country's decimal
    /// point. `None` as well for percentages, prices, bounds, ranges and the letters of a missing value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        Self::of_decimal(text, 0, None).or_else(|| Self::of_parts(text))
    }

    /// A number that is more than an ASCII decimal.
    fn of_parts(text: &'a str) -> Option<Self> {
        // No multiplier and no unit has a digit, so they follow the last one.
        let (last, digit) = text
            .char_indices()
            .rfind(|(_, it)| matches!(ascii(*it), '0'..='9' | '.'))?;
        let (number, suffix) = text.split_at(last + digit.len_utf8());
        let (power, unit) = multiplier_and_unit(suffix)?;
        let decimal = without_groups(number.chars().map(ascii).collect())?;
        Self::of_decimal(&decimal, power, unit)
    }

    /// A decimal as Rust writes it, times a power of ten.
    fn of_decimal(decimal: &str, power: i32, unit: Option<&'a str>) -> Option<Self> {
        let mut value: f64 = decimal.parse().ok()?;
        let (digits, exponent) = match decimal.bytes().position(|it| matches!(it, b'e' | b'E')) {
            Some(at) => (&decimal[..at], decimal[at + 1..].parse().ok()?),
            None => (decimal, 0_i32),
        };
        let exponent = exponent.checked_add(power)?;
        if power != 0 {
            // The product would be rounded twice: 1.13 × 10^4 is 11299.999999999998.
            value = format!("{digits}e{exponent}").parse().ok()?;
        }
        let dot = digits.bytes().position(|it| it == b'.');
        let decimals = dot.map_or(0, |dot| digits.len() - dot - 1);
        let last_digit = exponent.checked_sub(i32::try_from(decimals).ok()?)?;
        let precision = 0.5 * 10_f64.powi(last_digit);
        // Adding zero takes the sign from minus zero.
        let value = value + 0.0;
        (value.is_finite() && precision.is_finite()).then_some(Self {
            value,
            unit,
            precision,
        })
    }
}

/// The ASCII character for a full-width or typographic one that numbers are printed with.
fn ascii(character: char) -> char {
    match character {
        '０'..='９' => char::from(b'0' + (character as u32 - '０' as u32) as u8),
        '，' => ',',
        '．' => '.',
        '＋' => '+',
        '－' | '\u{2212}' => '-',
        '’' => '\'',
        // No-break, narrow no-break, ideographic.
        '\u{a0}' | '\u{202f}' | '\u{3000}' => ' ',
        other => other,
    }
}

/// The number without what parts its thousands; `None` where that does not part groups of three.
fn without_groups(number: String) -> Option<String> {
    let Some(separator) = number.chars().find(|it| matches!(it, ',' | ' ' | '\'')) else {
        return Some(number);
    };
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(&number);
    // A separator in the fraction stays where it is, and makes the number none.
    let whole = unsigned.split(['.', 'e', 'E']).next()?;
    let mut groups = whole.split(separator);
    let first = groups.next()?;
    let is_grouped = matches!(first.len(), 1..=3)
        && !first.starts_with('0')
        && groups.all(|group| group.len() == 3);
    is_grouped.then(|| number.replacen(separator, "", whole.matches(separator).count()))
}

/// The power of ten and the unit that follow a number, each after one space at most. 万吨 is a unit.
fn multiplier_and_unit(suffix: &str) -> Option<(i32, Option<&str>)> {
    if let Some(unit) = mass_or_nothing(suffix) {
        return Some((0, unit));
    }
    let suffix = after_space(suffix);
    let (power, rest) = match suffix.strip_prefix('万') {
        Some(rest) => (4, rest),
        None => (8, suffix.strip_prefix('亿')?),
    };
    Some((power, mass_or_nothing(rest)?))
}

/// `Some(None)` for nothing at all, `None` for anything that is no mass.
fn mass_or_nothing(text: &str) -> Option<Option<&str>> {
    if text.is_empty() {
        return Some(None);
    }
    let unit = after_space(text);
    let is_mass = !unit.contains('/') && Measure::named(unit).is_ok();
    is_mass.then_some(Some(unit))
}

fn after_space(text: &str) -> &str {
    text.strip_prefix(|it| ascii(it) == ' ').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_decimal_is_read_as_rust_reads_it() {
        for text in [
            "0", "12", "-5", "+5", "5.", ".5", "1e3", "-5.1e3", "1E-3", "007",
        ] {
            assert_eq!(value(text), text.parse().ok(), "{text}");
        }
        assert_eq!(value(" \t13.50\r\n"), Some(13.5));
    }

    #[test]
    fn groups_of_three_are_read_whatever_parts_them() {
        for (text, expected) in [
            ("5,489.2", 5489.2),
            ("1,234,567", 1_234_567.0),
            ("-1,234", -1234.0),
            ("240 000", 240_000.0),
            ("240\u{a0}000", 240_000.0),
            ("1\u{202f}240\u{202f}000.25", 1_240_000.25),
            ("1'234'567", 1_234_567.0),
            ("1’234’567", 1_234_567.0),
        ] {
            assert_eq!(value(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_parts_no_groups_of_three_makes_no_number() {
        let texts = "1,23|12,34.5|1,2345|1234,567|1,234,56|,123|1,,234|1,234,|0,123|000,123|1,234 567|\
            1.234,567|0.123,456|1.234 567|1  234|- 123|1,-23|1,+23,456|1,.23";
        for text in texts.split('|') {
            assert_eq!(PrintedNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn full_width_figures_are_figures() {
        assert_eq!(value("５，４８９．２"), Some(5489.2));
        assert_eq!(value("－０１２３４５６７８９"), Some(-123_456_789.0));
        assert_eq!(value("\u{2212}5.1"), Some(-5.1));
        assert_eq!(value("\u{3000}１３"), Some(13.0));
        assert_eq!(parsed("１３．５\u{3000}万吨"), (13.5, Some("万吨"), 0.05));
    }

    #[test]
    fn a_mass_after_the_number_is_its_unit() {
        for unit in [
            "t", "kt", "Mt", "kg", "g", "lb", "oz_troy", "st", "lt", "吨", "万吨", "公斤", "千克",
        ] {
            for space in ["", " ", "\u{a0}", "\u{202f}"] {
                let text = format!("5,489.2{space}{unit}");
                assert_eq!(parsed(&text), (5489.2, Some(unit), 0.05), "{text}");
            }
        }
        assert_eq!(parsed("1e3t"), (1000.0, Some("t"), 500.0));
        assert_eq!(parsed("240 000 t"), (240_000.0, Some("t"), 0.5));
    }

    #[test]
    fn ten_thousands_and_hundred_millions_multiply() {
        for (text, expected) in [
            ("13万", (130_000.0, None, 5000.0)),
            ("13 万", (130_000.0, None, 5000.0)),
            ("13万吨", (13.0, Some("万吨"), 0.5)),
            ("13 万吨", (13.0, Some("万吨"), 0.5)),
            ("13万 吨", (130_000.0, Some("吨"), 5000.0)),
            ("13万kg", (130_000.0, Some("kg"), 5000.0)),
            ("1.5亿", (1.5e8, None, 5e6)),
            ("1.5亿吨", (1.5e8, Some("吨"), 5e6)),
            ("1,234.5万", (12_345_000.0, None, 500.0)),
            ("1.2e3万", (1.2e7, None, 500_000.0)),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn a_multiplier_shifts_the_decimal_and_does_not_round() {
        for hundredths in 0..100_000 {
            let (whole, fraction) = (hundredths / 100, hundredths % 100);
            let text = format!("{whole}.{fraction:02}万");
            let expected = f64::from(hundredths) * 100.0;
            assert_eq!(parsed(&text), (expected, None, 50.0), "{text}");
        }
    }

    #[test]
    fn the_precision_is_half_the_last_printed_digit() {
        for (text, precision) in [
            ("13", 0.5),
            ("13.", 0.5),
            ("13.0", 0.05),
            ("5,489.2", 0.05),
            ("240 000", 0.5),
            ("1.2e3", 50.0),
            ("1.20e3", 5.0),
            ("1e-3", 0.0005),
            ("-0.00", 0.005),
        ] {
            let number = PrintedNumber::parse(text).expect("a test prints numbers");
            assert_eq!(number.precision, precision, "{text}");
        }
    }

    #[test]
    fn what_is_no_single_finite_number_is_none() {
        let texts = "| |.|,|-|--|+-5|e5|5e|1e2e3|1.2.3|0x10|1_000|NaN|nan|inf|-inf|infinity|Infinity|\
            in,fin,ity|1e999|-1e999|1e308万|0e999|0e9999999999|W|NA|…|5%|5 %|5％|约5|约 5|<1.09|≥5|\
            35-36|35–36|(5)|$5|5*|5 t.|5  t|5\nt|t|万|万吨|5 吨吨|5 T|5 m3|5 USD/t|5 /t|5万亿|5万%|\
            5万6|5亿3000万";
        for text in texts.split('|') {
            assert_eq!(PrintedNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn minus_zero_is_zero() {
        for text in ["-0", "-0.00", "－０", "\u{2212}0 t", "-0万", "-1e-400"] {
            let value = value(text).expect("a test prints numbers");
            assert_eq!(value.to_bits(), 0, "{text}");
        }
    }

    #[test]
    fn every_whole_number_reads_back_however_it_is_grouped() {
        for number in (-20_000_000..20_000_000).step_by(1_237) {
            for separator in [",", " ", "\u{a0}", "\u{202f}", "'"] {
                let text = grouped(number, separator);
                assert_eq!(value(&text), Some(f64::from(number)), "{text}");
                let full_width: String = text.chars().map(full_width).collect();
                assert_eq!(value(&full_width), Some(f64::from(number)), "{full_width}");
            }
        }
    }

    #[test]
    fn every_short_text_is_a_finite_number_or_none() {
        let alphabet = [
            "1", "0", ",", ".", "-", " ", "e", "t", "万", "吨", "９", "，", "\u{a0}", "/",
        ];
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            texts = texts
                .iter()
                .flat_map(|text| alphabet.map(|letter| format!("{text}{letter}")))
                .collect();
            for number in texts.iter().filter_map(|text| PrintedNumber::parse(text)) {
                assert!(number.value.is_finite() && number.precision > 0.0);
                assert!(number.unit.is_none_or(|unit| Measure::named(unit).is_ok()));
            }
        }
    }

    fn value(text: &str) -> Option<f64> {
        PrintedNumber::parse(text).map(|number| number.value)
    }

    fn parsed(text: &str) -> (f64, Option<&str>, f64) {
        let number = PrintedNumber::parse(text).unwrap_or_else(|| panic!("no number: {text}"));
        (number.value, number.unit, number.precision)
    }

    fn grouped(number: i32, separator: &str) -> String {
        let mut rest = number.abs();
        let mut text = String::new();
        while rest >= 1000 {
            text = format!("{separator}{:03}{text}", rest % 1000);
            rest /= 1000;
        }
        let sign = if number < 0 { "-" } else { "" };
        format!("{sign}{rest}{text}")
    }

    fn full_width(character: char) -> char {
        match character {
            '0'..='9' | ',' | '.' | '-' => {
                char::from_u32(character as u32 + 0xfee0).expect("the full-width forms are there")
            }
            other => other,
        }
    }
}
