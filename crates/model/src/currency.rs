//! Exchange rates of days.

use std::collections::{BTreeMap, HashMap};

use crate::Day;

/// What one unit of a currency cost in another, by day.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ExchangeRates {
    /// By the currency converted from, then by the one converted to.
    rates: BTreeMap<String, BTreeMap<String, HashMap<Day, f64>>>,
}

impl ExchangeRates {
    /// Adds the rate of one day: one `base` costs `rate` of `quote`. A rate that is not positive is
    /// none.
    pub fn add(&mut self, base: &str, quote: &str, day: Day, rate: f64) {
        if !(rate.is_finite() && rate > 0.0) {
            return;
        }
        self.days(base, quote).insert(day, rate);
        // What is stated the other way round wins over what is turned round here.
        self.days(quote, base).entry(day).or_insert(1.0 / rate);
    }

    /// What one `from` cost in `to` on the day: as stated, else turned round, else by way of the first
    /// currency of the alphabet that has both rates. Never a rate of another day.
    pub fn rate(&self, from: &str, to: &str, day: Day) -> Option<f64> {
        if from == to {
            return Some(1.0);
        }
        let of_from = self.rates.get(from)?;
        let on_day = |days: &HashMap<Day, f64>| days.get(&day).copied();
        if let Some(rate) = of_from.get(to).and_then(on_day) {
            return Some(rate);
        }
        of_from.iter().find_map(|(between, days)| {
            let onwards = self.rates.get(between)?.get(to).and_then(on_day)?;
            Some(on_day(days)? * onwards)
        })
    }

    fn days(&mut self, from: &str, to: &str) -> &mut HashMap<Day, f64> {
        let of_from = self.rates.entry(from.to_owned()).or_default();
        of_from.entry(to.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a day")
    }

    #[test]
    fn a_rate_is_stated_turned_round_or_crossed_and_of_its_own_day() {
        let (monday, tuesday) = (day("2024-01-01"), day("2024-01-02"));
        let mut rates = ExchangeRates::default();
        rates.add("EUR", "USD", monday, 1.25);
        rates.add("EUR", "CNY", monday, 8.0);
        rates.add("EUR", "USD", tuesday, 1.5);
        assert_eq!(rates.rate("EUR", "USD", monday), Some(1.25));
        assert_eq!(rates.rate("USD", "EUR", monday), Some(0.8));
        assert_eq!(rates.rate("USD", "CNY", monday), Some(6.4));
        assert_eq!(rates.rate("USD", "CNY", tuesday), None);
        assert_eq!(rates.rate("JPY", "CNY", monday), None);
        assert_eq!(rates.rate("JPY", "JPY", monday), Some(1.0));
    }

    #[test]
    fn what_is_stated_wins_over_what_is_turned_round_in_either_order() {
        let monday = day("2024-01-01");
        for pairs in [
            [("A", "B", 2.0), ("B", "A", 0.4)],
            [("B", "A", 0.4), ("A", "B", 2.0)],
        ] {
            let mut rates = ExchangeRates::default();
            for (base, quote, rate) in pairs {
                rates.add(base, quote, monday, rate);
            }
            assert_eq!(rates.rate("A", "B", monday), Some(2.0));
            assert_eq!(rates.rate("B", "A", monday), Some(0.4));
        }
    }

    #[test]
    fn a_rate_of_zero_is_none() {
        let monday = day("2024-01-01");
        let mut rates = ExchangeRates::default();
        rates.add("A", "B", monday, 0.0);
        rates.add("A", "C", monday, f64::NAN);
        assert_eq!(rates.rate("A", "B", monday), None);
        assert_eq!(rates.rate("C", "A", monday), None);
    }
}
