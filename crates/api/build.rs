//! Generates the Rust types and services from `proto/`, without `protoc`.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

const PROTOS: [&str; 5] = [
    "didymium/v1/admin.proto",
    "didymium/v1/catalog.proto",
    "didymium/v1/ingest.proto",
    "didymium/v1/jobs.proto",
    "didymium/v1/query.proto",
];

const FLIGHT: &str = "arrow/flight/protocol/flight.proto";

fn main() -> Result<(), Box<dyn error::Error>> {
    // Asked when it runs: clones share compiled build scripts, and the one that compiled it may be gone.
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for file in PROTOS {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let files = protox::compile(PROTOS, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("descriptor.bin"),
        protox::prost::Message::encode_to_vec(&files),
    )?;
    // Flight's code is arrow-flight's; only what reflection shows of it is made here.
    println!("cargo::rerun-if-changed={}", root.join(FLIGHT).display());
    let flight = protox::compile([FLIGHT], [&root])?;
    fs::write(
        out.join("flight.bin"),
        protox::prost::Message::encode_to_vec(&flight),
    )?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
