//! Units of mass, and of money per mass.

/// A unit: kilograms of it, and the currency that it is a price in.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    kilograms: f64,
    /// `Some` where the unit is a price per mass.
    currency: Option<String>,
}

/// Why a value has no other unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeasure {
    /// A unit that is not known.
    #[error(
        "there is no unit {0}: a mass is one of {MASSES}, a price is a currency per mass, such as USD/kg"
    )]
    Unknown(String),
    /// Units of different things.
    #[error("{from} is no {to}: {why}")]
    Different {
        /// The one unit.
        from: String,
        /// The other.
        to: String,
        /// What parts them.
        why: &'static str,
    },
}

/// The masses, for messages.
const MASSES: &str = "t, kt, Mt, kg, g, lb, oz_troy, st (short ton), lt (long ton), 吨, 万吨";

impl Measure {
    /// The unit of a name: a mass, or a currency's three letters per mass.
    ///
    /// The pound is 0.45359237 kg by the agreement of 1959, the troy ounce 480 grains of a 7000th of
    /// it, the short ton 2000 pounds and the long ton 2240 (NIST Special Publication 811, appendix B).
    ///
    /// # Errors
    /// [`InvalidMeasure::Unknown`].
    pub fn named(name: &str) -> Result<Self, InvalidMeasure> {
        let unknown = || InvalidMeasure::Unknown(name.to_owned());
        let (currency, mass) = match name.split_once('/') {
            None => (None, name),
            Some((currency, mass)) => (Some(currency), mass),
        };
        let is_currency =
            |code: &str| code.len() == 3 && code.bytes().all(|it| it.is_ascii_uppercase());
        if currency.is_some_and(|code| !is_currency(code)) {
            return Err(unknown());
        }
        Ok(Self {
            kilograms: kilograms(mass).ok_or_else(unknown)?,
            currency: currency.map(str::to_owned),
        })
    }

    /// A value of this unit in another: `value × times ÷ over`.
    ///
    /// # Errors
    /// [`InvalidMeasure::Different`] for a mass and a price, and for two currencies.
    pub fn to(&self, other: &Self, names: (&str, &str)) -> Result<Conversion, InvalidMeasure> {
        let why = match (&self.currency, &other.currency) {
            (None, None) => {
                return Ok(Conversion {
                    times: self.kilograms,
                    over: other.kilograms,
                });
            }
            (Some(from), Some(to)) if from == to => {
                return Ok(Conversion {
                    times: other.kilograms,
                    over: self.kilograms,
                });
            }
            (Some(_), Some(_)) => "its currency differs, which convert_currency changes",
            _ => "one is a mass, the other a price per mass",
        };
        Err(InvalidMeasure::Different {
            from: names.0.to_owned(),
            to: names.1.to_owned(),
            why,
        })
    }
}

/// How a value is brought from one unit to another. Two numbers, since both are exact and their ratio
/// may not be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    times: f64,
    over: f64,
}

impl Conversion {
    /// The value in the other unit.
    pub fn of(self, value: f64) -> f64 {
        value * self.times / self.over
    }
}

fn kilograms(mass: &str) -> Option<f64> {
    Some(match mass {
        "g" => 0.001,
        "kg" | "公斤" | "千克" => 1.0,
        "t" | "吨" => 1e3,
        "kt" => 1e6,
        "万吨" => 1e7,
        "Mt" => 1e9,
        "lb" => 0.453_592_37,
        "oz_troy" => 0.031_103_476_8,
        "st" => 907.184_74,
        "lt" => 1_016.046_908_8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(value: f64, from: &str, to: &str) -> Result<f64, InvalidMeasure> {
        let conversion = Measure::named(from)?.to(&Measure::named(to)?, (from, to))?;
        Ok(conversion.of(value))
    }

    #[test]
    fn a_price_falls_where_a_mass_rises() {
        assert_eq!(convert(13.0, "万吨", "t"), Ok(130_000.0));
        assert_eq!(convert(2.0, "t", "kg"), Ok(2000.0));
        assert_eq!(convert(2.0, "USD/t", "USD/kg"), Ok(0.002));
        assert_eq!(convert(1.0, "lb", "kg"), Ok(0.453_592_37));
        assert_eq!(convert(1.0, "st", "lb"), Ok(2000.0));
        assert_eq!(convert(1.0, "lt", "lb"), Ok(2240.0));
        let ounces = convert(7000.0 / 480.0, "oz_troy", "lb").expect("both are masses");
        assert!((ounces - 1.0).abs() < 1e-12, "{ounces}");
    }

    #[test]
    fn different_things_are_refused() {
        for (from, to) in [
            ("t", "USD/t"),
            ("USD/t", "CNY/t"),
            ("t", "m3"),
            ("usd/t", "usd/kg"),
        ] {
            assert!(convert(1.0, from, to).is_err(), "{from} {to}");
        }
    }
}
