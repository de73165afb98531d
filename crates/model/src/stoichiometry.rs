//! What a mass of a metal or compound weighs as rare-earth oxide.

/// A substance that is no rare earth, or more than one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubstance {
    /// Text that is no formula of known elements.
    #[error(
        "{0} is no chemical formula of the elements that are known here, such as Nd, Nd2O3 or Ce2(CO3)3"
    )]
    NoFormula(String),
    /// A formula with another number of rare earths than one.
    #[error("{0} must hold exactly one rare earth: which oxide it counts as depends on it")]
    NotOneRareEarth(String),
}

/// Standard atomic weights: the abridged ones of IUPAC's Commission on Isotopic Abundances and Atomic
/// Weights, and for rare earths the full ones, as in `data/element_factors.csv`.
const WEIGHTS: [(&str, f64); 27] = [
    ("H", 1.008),
    ("C", 12.011),
    ("N", 14.007),
    ("O", 15.999),
    ("F", 18.998),
    ("P", 30.974),
    ("S", 32.06),
    ("Cl", 35.45),
    ("Na", 22.99),
    ("K", 39.098),
    ("Br", 79.904),
    ("Sc", 44.955_907),
    ("Y", 88.905_838),
    ("La", 138.905_47),
    ("Ce", 140.116),
    ("Pr", 140.907_66),
    ("Nd", 144.242),
    ("Sm", 150.36),
    ("Eu", 151.964),
    ("Gd", 157.25),
    ("Tb", 158.925_354),
    ("Dy", 162.5),
    ("Ho", 164.930_329),
    ("Er", 167.259),
    ("Tm", 168.934_219),
    ("Yb", 173.045),
    ("Lu", 174.966_8),
];

/// Atoms of oxygen in the traded oxide, for so many atoms of the rare earth. All not listed: 3 for 2.
const OXIDES: [(&str, f64, f64); 3] = [("Ce", 1.0, 2.0), ("Pr", 6.0, 11.0), ("Tb", 4.0, 7.0)];

const RARE_EARTHS: [&str; 16] = [
    "Sc", "Y", "La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu",
];

/// Tonnes of rare-earth oxide per tonne of a metal or compound: of the oxide that is traded (CeO2,
/// Pr6O11, Tb4O7, else the one with 3 atoms of oxygen for 2).
///
/// # Errors
/// [`InvalidSubstance`].
pub fn oxide_per_mass(substance: &str) -> Result<f64, InvalidSubstance> {
    let atoms = atoms(substance)
        .filter(|atoms| !atoms.is_empty())
        .ok_or_else(|| InvalidSubstance::NoFormula(substance.to_owned()))?;
    let not_one = || InvalidSubstance::NotOneRareEarth(substance.to_owned());
    let is_rare = |(element, _): &&(&str, f64)| RARE_EARTHS.contains(element);
    let (element, _) = atoms.iter().find(is_rare).ok_or_else(not_one)?;
    if atoms
        .iter()
        .filter(is_rare)
        .any(|(other, _)| other != element)
    {
        return Err(not_one());
    }
    let count: f64 = atoms
        .iter()
        .filter(|(other, _)| other == element)
        .map(|(_, count)| count)
        .sum();
    let mass = |(element, count): &(&str, f64)| weight(element).map(|weight| weight * count);
    let whole: Option<f64> = atoms.iter().map(mass).sum();
    let (rare_atoms, oxygen_atoms) = OXIDES
        .iter()
        .find(|(known, _, _)| known == element)
        .map_or((2.0, 3.0), |(_, rare, oxygen)| (*rare, *oxygen));
    let oxide = weight(element)
        .zip(weight("O"))
        .map(|(rare, oxygen)| count * (rare + oxygen * oxygen_atoms / rare_atoms));
    oxide
        .zip(whole)
        .map(|(oxide, whole)| oxide / whole)
        .ok_or_else(|| InvalidSubstance::NoFormula(substance.to_owned()))
}

fn weight(element: &str) -> Option<f64> {
    let (_, weight) = WEIGHTS.iter().find(|(known, _)| *known == element)?;
    Some(*weight)
}

/// The elements of a formula with their counts, groups in parentheses and water behind a dot multiplied
/// out. `None` for anything else.
fn atoms(formula: &str) -> Option<Vec<(&str, f64)>> {
    let mut atoms = Vec::new();
    for part in formula.split(['·', '.']) {
        let part_times = part.trim_start_matches(|it: char| it.is_ascii_digit());
        let times = count(&part[..part.len() - part_times.len()])?;
        let (found, rest) = group(part_times, 0)?;
        if !rest.is_empty() {
            return None;
        }
        atoms.extend(
            found
                .into_iter()
                .map(|(element, count)| (element, count * times)),
        );
    }
    Some(atoms)
}

/// Deepest parentheses of a formula.
const NESTING: usize = 4;

/// The elements up to a closing parenthesis or the end, and what follows.
fn group(text: &str, depth: usize) -> Option<(Vec<(&str, f64)>, &str)> {
    if depth > NESTING {
        return None;
    }
    let mut atoms = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == ')' {
            break;
        }
        let (found, after) = if next == '(' {
            let (inner, after) = group(&rest[1..], depth + 1)?;
            (inner, after.strip_prefix(')')?)
        } else {
            let lower = rest.bytes().skip(1).take_while(u8::is_ascii_lowercase);
            let length = 1 + lower.count();
            let element = rest
                .get(..length)
                .filter(|element| weight(element).is_some())?;
            (vec![(element, 1.0)], &rest[length..])
        };
        let counted = after.trim_start_matches(|it: char| it.is_ascii_digit());
        let times = count(&after[..after.len() - counted.len()])?;
        atoms.extend(
            found
                .into_iter()
                .map(|(element, count)| (element, count * times)),
        );
        rest = counted;
    }
    Some((atoms, rest))
}

/// A count behind an element; 1 where none is written.
fn count(digits: &str) -> Option<f64> {
    match digits {
        "" => Some(1.0),
        _ if digits.len() <= 4 => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_the_tables() {
        // U.S. Geological Survey and others print four digits; data/element_factors.csv lists them.
        for (substance, factor) in [
            ("La", 1.1728),
            ("Ce", 1.2284),
            ("Pr", 1.2082),
            ("Nd", 1.1664),
            ("Tb", 1.1762),
            ("Dy", 1.1477),
            ("Y", 1.2699),
            ("Sc", 1.5338),
            ("Nd2O3", 1.0),
            ("CeO2", 1.0),
        ] {
            let found = oxide_per_mass(substance).expect("it holds one rare earth");
            assert!((found - factor).abs() < 5e-5, "{substance}: {found}");
        }
    }

    #[test]
    fn compounds_are_weighed_as_a_whole() {
        let carbonate = oxide_per_mass("Nd2(CO3)3").expect("it holds one rare earth");
        // 2 × 144.242 + 3 × 15.999 over 2 × 144.242 + 3 × (12.011 + 3 × 15.999)
        assert!((carbonate - 336.481 / 468.508).abs() < 1e-9, "{carbonate}");
        let hydrate = oxide_per_mass("La2(CO3)3.8H2O").expect("it holds one rare earth");
        assert!(
            (hydrate - 325.807_94 / 601.953_94).abs() < 1e-6,
            "{hydrate}"
        );
    }

    #[test]
    fn what_has_no_oxide_of_its_own_is_refused() {
        for substance in [
            "", "Fe", "nd", "Nd2Fe14B", "PrNd", "H2O", "Nd(", "Nd)", "稀土", "Nd99999",
        ] {
            assert!(oxide_per_mass(substance).is_err(), "{substance}");
        }
    }
}
