//! House rules that are code.

use std::collections::BTreeMap;
use std::fs;

use crate::figures::root;

/// `ARCHITECTURE.md` draws these arrows; everything else would pull a dependency where it must not be.
const ARROWS: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("functions", &["model"]),
    ("store", &["model"]),
    ("engine", &["model", "functions", "store"]),
    ("jobs", &["model", "functions", "store", "engine"]),
    ("api", &[]),
    (
        "server",
        &["model", "functions", "store", "engine", "jobs", "api"],
    ),
    (
        "cli",
        &[
            "model",
            "functions",
            "store",
            "engine",
            "jobs",
            "api",
            "server",
        ],
    ),
];

/// What each crate exists to keep out.
const KEPT_OUT: [(&str, &[&str]); 6] = [
    (
        "model",
        &["arrow", "tokio", "datafusion", "object_store", "serde"],
    ),
    ("functions", &["tokio", "object_store", "datafusion"]),
    ("store", &["tonic", "prost"]),
    ("engine", &["tonic", "prost", "deltalake-core"]),
    ("jobs", &["tonic", "prost", "datafusion", "deltalake-core"]),
    ("server", &["parquet", "datafusion", "deltalake-core"]),
];

fn dependencies(name: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(format!("crates/{name}/Cargo.toml"))).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let sections = ["dependencies", "build-dependencies"];
    let tables = sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn crates_depend_along_the_arrows_only() {
    let found = fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(found, ARROWS.len(), "every crate has its arrows");
    for (name, allowed) in ARROWS {
        for dependency in dependencies(name) {
            let Some(ours) = dependency.strip_prefix("didymium-") else {
                continue;
            };
            assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
        }
    }
}

#[test]
fn crates_keep_out_what_they_exist_to_keep_out() {
    for (name, kept_out) in KEPT_OUT {
        let dependencies = dependencies(name);
        for dependency in kept_out {
            assert!(
                !dependencies.iter().any(|found| found == dependency),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

/// Functions that are told and tested with another one or with a relation.
const TOLD_WITH: [(&str, &str); 9] = [
    ("yoy_reason", "yoy"),
    ("qoq_reason", "qoq"),
    ("mom_reason", "mom"),
    ("growth_reason", "growth"),
    ("from_ytd_value", "from_ytd"),
    ("gapfill_locf", "time_bucket_gapfill"),
    ("gapfill_interpolate", "time_bucket_gapfill"),
    ("asof_match", "asof_join"),
    ("calendar_periods", "calendar"),
];

#[test]
fn every_function_has_a_file_documentation_and_an_slt() {
    let windows = didymium_functions::window_functions();
    let aggregates = didymium_functions::aggregate_functions();
    let scalars = didymium_functions::scalar_functions();
    let mut functions = BTreeMap::new();
    functions.extend(windows.iter().map(|f| (f.name(), f.documentation())));
    functions.extend(aggregates.iter().map(|f| (f.name(), f.documentation())));
    functions.extend(scalars.iter().map(|f| (f.name(), f.documentation())));
    assert!(functions.len() >= 30);
    for (name, documentation) in functions {
        let documentation = documentation.unwrap_or_else(|| panic!("{name} is not documented"));
        assert!(documentation.sql_example.is_some(), "{name} has no example");
        let teller = TOLD_WITH.iter().find(|(told, _)| *told == name);
        let teller = teller.map_or(name, |(_, teller)| teller);
        let file = format!("crates/functions/src/{teller}.rs");
        assert!(root().join(&file).is_file(), "{file} is missing");
        let is_tested = [name, teller].iter().any(|name| {
            ["functions", "relations"].iter().any(|folder| {
                root()
                    .join(format!("tests/sql/{folder}/{name}.slt"))
                    .is_file()
            })
        });
        assert!(is_tested, "{name} has no .slt file");
    }
}

#[test]
fn only_the_cli_prints() {
    for (name, _) in ARROWS.iter().filter(|(name, _)| *name != "cli") {
        for file in rust_files(&root().join(format!("crates/{name}/src"))) {
            let text = fs::read_to_string(&file).unwrap();
            for print in ["println!(", "eprintln!(", "print!(", "dbg!("] {
                assert!(!text.contains(print), "{} prints", file.display());
            }
        }
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    for (name, _) in ARROWS {
        for file in rust_files(&root().join(format!("crates/{name}/src"))) {
            let text = fs::read_to_string(&file).unwrap();
            let is_tests = file.ends_with("tests.rs");
            assert!(is_tests || text.starts_with("//! "), "{}", file.display());
        }
    }
}

fn rust_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
