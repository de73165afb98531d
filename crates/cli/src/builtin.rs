//! The tables and figures that the binary carries.

/// A built-in table: its declaration and its rows.
#[derive(Debug)]
pub(crate) struct Builtin {
    pub(crate) name: &'static str,
    pub(crate) declaration: &'static str,
    pub(crate) csv: &'static str,
}

macro_rules! builtin {
    ($($name:literal),+ $(,)?) => {
        [$(Builtin {
            name: $name,
            declaration: include_str!(concat!("../../../data/tables/", $name, ".toml")),
            csv: include_str!(concat!("../../../data/", $name, ".csv")),
        }),+]
    };
}

/// Every built-in table; what others refer to comes first.
pub(crate) const TABLES: [Builtin; 10] = builtin![
    "sources",
    "entities",
    "element_factors",
    "quotas",
    "production",
    "exports",
    "prices",
    "reserves",
    "published_growth",
    "exchange_rates",
];
