//! The command line.

mod jobs;

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};
use didymium_model::Day;
use didymium_store::Location;

use crate::config::Setting;
use crate::role_caps::RoleCapsText;
pub(crate) use jobs::{JobArgs, JobCommand};

/// Where else the options of `serve` come from.
const SETTINGS: &str = "\
Every option is also a variable, DIDYMIUM_ and its name in capitals (DIDYMIUM_MAX_RUNNING), and a key of the file that
--config names (max_running). What is typed counts before variables, and variables before the file.";

/// A time-series query server for commodity statistics.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a store with the built-in tables and the shipped figures
    Init(InitArgs),
    /// Load files into a table: all of them, or nothing
    Load(LoadArgs),
    /// Serve a store over gRPC
    #[command(after_help = SETTINGS)]
    Serve(Box<ServeArgs>),
    /// Ask a server whether it takes queries
    Health(ServerArgs),
    /// Run one query
    Sql(SqlArgs),
    /// List the tables
    Tables(TablesArgs),
    /// Show a table's columns
    Describe(DescribeArgs),
    /// List the functions and relations, or explain one
    Functions(FunctionsArgs),
    /// Make or drop a table of your own
    #[command(subcommand)]
    Table(TableCommand),
    /// Make or drop a view: a query with a name
    #[command(subcommand)]
    View(ViewCommand),
    /// Make, list and revoke the tokens that open a store's server
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make, watch and run scheduled queries, on a server
    #[command(subcommand)]
    Job(JobCommand),
    /// Look after a store: compact, verify, clean, purge, back up
    #[command(subcommand)]
    Store(StoreCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// Make a table as a TOML file declares it
    Create {
        /// The declaration; data/tables/ has examples
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Give a table a wider declaration: nullable columns, measures, allowed values
    Alter {
        /// The whole declaration, with what is new
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete a table with all its history
    Drop {
        /// The table
        table: String,
        /// Really
        #[arg(long, required = true)]
        yes: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show a table's declaration, as a TOML file has it
    Describe {
        /// The table
        table: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ViewCommand {
    /// Give a query a name, under which it is asked like a table
    Create {
        /// The name
        view: String,
        #[command(flatten)]
        query: ViewQueryArgs,
        /// What the view shows
        #[arg(long)]
        description: Option<String>,
        /// Replace a view of this name
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete a view; the tables that it reads stay as they are
    Drop {
        /// The view
        view: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// The query of a view.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ViewQueryArgs {
    /// The query
    #[arg(short, long, value_name = "SQL")]
    pub(crate) command: Option<String>,
    /// A file that holds it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it: nobody can be told it again
    Create {
        /// Whose it is: the name under which loads and views are noted
        name: String,
        /// What it allows; each role may do all that those before it may
        #[arg(long, value_enum, default_value_t = RoleArg::Read)]
        role: RoleArg,
        /// Open only tables and views whose names begin so; may be given several times
        #[arg(long, value_name = "PREFIX")]
        tables: Vec<String>,
        /// How long it is valid [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// List the tokens, without their secrets
    List {
        #[command(flatten)]
        target: TargetArgs,
    },
    /// End a token: the next call with it is refused
    Revoke {
        /// The token's id, as `token list` shows it
        id: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Ask
    Read,
    /// Load, and make and drop tables and views
    Write,
    /// Plan jobs
    Schedule,
    /// See and stop what others run
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Merge small files into few large ones; no result changes
    Compact {
        /// The tables [default: all]
        tables: Vec<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Check every file against its checksum and list those that are damaged
    Verify {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Delete files that killed loads left behind, and old history if asked to
    Clean {
        /// Only those that are older
        #[arg(long, value_name = "TIME", default_value = "1day", value_parser = humantime::parse_duration)]
        grace: Duration,
        /// Delete the files of versions that were replaced longer ago; none of their rows' vintages is lost
        #[arg(long, value_name = "TIME", value_parser = history)]
        history_retention: Option<Duration>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Take the rows of a source or load out of every version, for legal reasons
    Purge {
        /// The table
        table: String,
        #[command(flatten)]
        rows: PurgeArgs,
        /// Why, for the table's history
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Copy the store as it is now, while it is in use
    Backup {
        /// A new or empty place
        #[arg(value_name = "DIR|s3://…")]
        to: Location,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Make a store of a backup, after checking every file
    Restore {
        /// The backup
        #[arg(value_name = "DIR|s3://…")]
        backup: Location,
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The store
    #[arg(long, value_name = "DIR|s3://…")]
    pub(crate) store: Location,
}

/// Which rows are to go.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PurgeArgs {
    /// Those of a source
    #[arg(long, value_name = "ID")]
    pub(crate) source: Option<String>,
    /// Those that a load brought
    #[arg(long, value_name = "ID")]
    pub(crate) load: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The folder: new, empty, or a store whose making was interrupted
    #[arg(long, value_name = "DIR|s3://…")]
    pub(crate) store: Location,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The table
    pub(crate) table: String,
    /// CSV, NDJSON, Parquet or Arrow files, by their endings
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Why, for the table's history
    #[arg(long)]
    pub(crate) message: Option<String>,
    /// How the files' columns become the table's
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) map: Option<PathBuf>,
    /// Make the table if there is none, as the files suggest
    #[arg(long)]
    pub(crate) create: bool,
    /// Put the rows in the place of all that a plain table holds, in the same commit
    #[arg(long)]
    pub(crate) replace: bool,
    /// Check everything and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The source of every row, where the files have no column source_id
    #[arg(long, value_name = "ID")]
    pub(crate) source: Option<String>,
    /// The day on which the files became public, where they have no column published_on
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) published_on: Option<Day>,
    /// A name for this load: another load of this name changes nothing
    #[arg(long, value_name = "ID")]
    pub(crate) load_id: Option<String>,
    /// Correct rows that the table holds with other values, and why
    #[arg(long, value_name = "REASON")]
    pub(crate) supersede: Option<String>,
    /// The encoding of text files that are neither UTF-8 nor GB18030, such as windows-1252
    #[arg(long, value_name = "NAME")]
    pub(crate) encoding: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The store's folder
    #[arg(long, value_name = "DIR|s3://…")]
    pub(crate) store: Location,
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051", value_parser = address)]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) upkeep: UpkeepArgs,
    #[command(flatten)]
    pub(crate) jobs: JobArgs,
    /// Send a trace of every call to this collector, by OTLP over gRPC [default: to none]
    #[arg(long, value_name = "http://HOST:PORT", help_heading = "Traces")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// Where settings come from, and what becomes of them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArgs {
    /// A TOML file of settings
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
    /// Check the settings, the certificates and the store, and serve nothing; 78 if they won't do
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
    /// Print every setting, and where it comes from, and serve nothing
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Every setting with its origin.
    #[arg(skip)]
    pub(crate) settings: Vec<Setting>,
}

/// Who may come in, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Whether callers must show a token; a server that others can reach always asks for one
    /// [default: none on 127.0.0.1, else token]
    #[arg(long, value_name = "WHO")]
    pub(crate) auth: Option<Auth>,
    /// The server's certificate, and those that lead to its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM, which only the server's user may read
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The authorities whose certificates clients must show, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// Calls without a valid token that one address may make within a minute
    #[arg(long, value_name = "CALLS", default_value_t = 300)]
    pub(crate) max_refused: u32,
    /// Speak in the clear where others can listen: behind a proxy that speaks TLS
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) plaintext: bool,
}

/// Whether callers must show a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// Everybody may come in
    None,
    /// Those who show a token (`didymium token create`)
    Token,
}

/// How to reach a server that asks who calls.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct TlsArgs {
    /// A file that holds the token; without it the variable DIDYMIUM_TOKEN does
    #[arg(long, value_name = "FILE", env = "DIDYMIUM_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The authority of the server's certificate in PEM [default: the system's]
    #[arg(long, value_name = "FILE", env = "DIDYMIUM_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// A certificate of one's own in PEM, for a server that asks for one
    #[arg(
        long,
        value_name = "FILE",
        env = "DIDYMIUM_TLS_CERT",
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", env = "DIDYMIUM_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// How the server looks after its store.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UpkeepArgs {
    /// How often it compacts tables and cleans up; 0s leaves both to `didymium store`
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) upkeep_interval: Duration,
    /// Compact a table that has so many more files than its size needs
    #[arg(long, value_name = "FILES", default_value_t = 32)]
    pub(crate) compact_files: u64,
    /// Delete the files of versions that were replaced longer ago [default: never]
    #[arg(long, value_name = "TIME", value_parser = history)]
    pub(crate) history_retention: Option<Duration>,
}

/// What queries may use.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// Memory of all queries' sorts, joins and aggregates together
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub(crate) memory: ByteSize,
    /// Memory of one query's sorts, joins and aggregates [default: half of --memory]
    #[arg(long, value_name = "SIZE")]
    pub(crate) query_memory: Option<ByteSize>,
    /// Memory of the whole process: near it queries are refused, and at last the largest is stopped
    /// [default: all that the machine has]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_ceiling: Option<ByteSize>,
    /// The longest that one query may take
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(crate) query_timeout: Duration,
    /// How long a client may leave the rows of its query unread
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) idle_timeout: Duration,
    /// Queries that run at once
    #[arg(long, value_name = "QUERIES", default_value_t = 8, value_parser = at_least_one)]
    pub(crate) max_running: usize,
    /// Queries that wait for others to end; one more is turned away
    #[arg(long, value_name = "QUERIES", default_value_t = 32)]
    pub(crate) max_waiting: usize,
    /// Connections at once
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 1000, value_parser = at_least_one)]
    pub(crate) max_connections: usize,
    /// What one query of a role may use, where that is less
    #[arg(long, value_name = "ROLE: rows=N bytes=SIZE time=TIME memory=SIZE; …")]
    pub(crate) role_limits: Option<RoleCapsText>,
    /// Memory of the files of all loads that are taken at once
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub(crate) load_memory: ByteSize,
}

/// Which data: a server's or a folder's.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// The one place.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PlaceArgs {
    /// A server; grpcs:// with TLS
    #[arg(long, value_name = "grpc://HOST:PORT")]
    pub(crate) url: Option<String>,
    /// A store, opened in this process without a server
    #[arg(long, value_name = "DIR|s3://…")]
    pub(crate) store: Option<Location>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server; grpcs:// with TLS
    #[arg(
        long,
        value_name = "grpc://HOST:PORT",
        env = "DIDYMIUM_URL",
        default_value = "grpc://127.0.0.1:50051"
    )]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The statement
    #[arg(short, long, value_name = "SQL", allow_hyphen_values = true, conflicts_with_all = ["file", "stdin"])]
    pub(crate) command: Option<String>,
    /// A file that holds the statement
    #[arg(short, long, value_name = "FILE", conflicts_with = "stdin")]
    pub(crate) file: Option<PathBuf>,
    /// `-` reads the statement from standard input, as does giving none
    #[arg(value_name = "-", value_parser = ["-"])]
    pub(crate) stdin: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// What was known on that day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) published_as_of: Option<Day>,
    /// The longest that the query may take
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

/// A running query may need what was just replaced.
fn history(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_secs(3600);
    match humantime::parse_duration(text) {
        Ok(time) if time < LEAST => {
            Err("at least 1h: running queries read what was just replaced".to_owned())
        }
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// The host may be a name, which is looked up where the server begins to listen.
fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("an address is HOST:PORT, such as 127.0.0.1:50051".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be a whole number, at least 1".to_owned()),
    }
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "a day is written YYYY-MM-DD".to_owned())
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// How rows are written [default: table on a terminal, else csv]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write to this file, which appears only when it is complete
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    Table,
    /// RFC 4180 with a header
    Csv,
    /// One array of objects
    Json,
    /// One object per line
    Ndjson,
    /// An Arrow IPC stream
    Arrow,
    /// A Parquet file
    Parquet,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TablesArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FunctionsArgs {
    /// The function or relation to explain
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArgs {
    /// The table
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
