//! A folder of tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use deltalake_core::logstore::{StorageConfig, default_logstore};
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use url::Url;

use crate::commit::{Commit, Outcome};
use crate::local::{DurableLocalStore, write_durably};
use crate::table::{Table, create_actions};
use crate::{Declaration, Error, Result};

/// Where the engine finds a store's files. The URL names no folder: no query can reach beyond it.
pub const OBJECT_STORE_URL: &str = "didymium://store/";

/// What makes a folder a store.
const MARKER: &str = "_didymium/store.json";

/// The marker's content.
const FORMAT: &str = "{\"format\": 1}\n";

/// A store: a root folder with one Delta table in each sub-folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    objects: Arc<dyn ObjectStore>,
    /// The tables that have been opened.
    tables: Mutex<BTreeMap<String, Arc<Table>>>,
}

impl Store {
    /// Makes an empty store of a folder that is new, empty, or a store already.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a folder that holds anything else, [`Error::Unavailable`] where
    /// the folder can't be written.
    pub fn create(root: &Path) -> Result<Self> {
        if root.join(MARKER).is_file() {
            return Self::open(root);
        }
        let occupied = match fs::read_dir(root) {
            // Ours is there already where the marker was about to be written.
            Ok(mut entries) => {
                entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != "_didymium"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(not_readable(root, &error)),
        };
        if occupied {
            return Err(Error::Precondition(format!(
                "the folder {} is not a Didymium store and is not empty: name a new or empty folder",
                root.display()
            )));
        }
        let marker = root.join(MARKER);
        let made = write_durably(&marker, &FORMAT.into(), false);
        made.map_err(|error| {
            Error::Unavailable(format!(
                "the folder {} can't be made: {error}",
                root.display()
            ))
        })?;
        Self::open(root)
    }

    /// Opens a store.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a folder that is not a store of a known format.
    pub fn open(root: &Path) -> Result<Self> {
        match fs::read_to_string(root.join(MARKER)) {
            Ok(format) if format.trim() == FORMAT.trim() => {}
            Ok(_) => {
                return Err(Error::Precondition(format!(
                    "the store {} was made by a newer release: use that release",
                    root.display()
                )));
            }
            Err(_) => {
                return Err(Error::Precondition(format!(
                    "the folder {} is not a Didymium store: make one with `didymium init --store {0}`",
                    root.display()
                )));
            }
        }
        let root = root
            .canonicalize()
            .map_err(|error| not_readable(root, &error))?;
        if root
            .to_str()
            .is_none_or(|root| root.contains(['%', '\\', '#', '?', '\t', '\n']))
        {
            return Err(Error::Precondition(format!(
                "the folder {} has a character in its path that a table's address can't hold: choose another",
                root.display()
            )));
        }
        let objects = DurableLocalStore::in_folder(&root).map_err(|error| {
            Error::Unavailable(format!(
                "the store {} can't be read: {error}",
                root.display()
            ))
        })?;
        Ok(Self {
            root,
            objects: Arc::new(objects),
            tables: Mutex::default(),
        })
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of the store, addressed from its root.
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// The names of all tables, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the folder can't be read.
    pub fn table_names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.root).map_err(|error| not_readable(&self.root, &error))?;
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| has_log(&entry.path()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The table of this name.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], with the names that come nearest.
    pub fn table(&self, name: &str) -> Result<Arc<Table>> {
        let names = self.table_names()?;
        if !names.iter().any(|known| known == name) {
            return Err(Error::UnknownTable {
                name: name.to_owned(),
                similar: nearest(name, &names),
            });
        }
        self.handle(name)
    }

    /// Whether there is a table of this name.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the folder can't be read.
    pub fn has_table(&self, name: &str) -> Result<bool> {
        Ok(self.table_names()?.iter().any(|known| known == name))
    }

    /// Makes a table.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where there is one of this name.
    pub async fn create_table(&self, declaration: &Declaration, now_ms: i64) -> Result<Arc<Table>> {
        let name = &declaration.name;
        let exists = || Error::AlreadyExists(format!("there is a table {name} already"));
        if self.table_names()?.iter().any(|known| known == name) {
            return Err(exists());
        }
        let table = self.handle(name)?;
        let (actions, operation) = create_actions(declaration, table.log())?;
        let commit = Commit {
            table: name.clone(),
            author: "didymium".to_owned(),
            message: Some(format!("create table {name}")),
            load_id: None,
            load_digest: None,
            inputs: Vec::new(),
            input_sha256: None,
            reason: None,
            now_ms,
            operation,
        };
        match commit.run(table.log(), None, actions).await? {
            Outcome::Committed(_) => Ok(table),
            Outcome::Lost => Err(exists()),
        }
    }

    fn handle(&self, name: &str) -> Result<Arc<Table>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(name) {
            return Ok(Arc::clone(table));
        }
        let folder = self.root.join(name);
        let location = Url::from_directory_path(&folder)
            .map_err(|()| Error::Internal(format!("{} is no absolute folder", folder.display())))?;
        let prefix = object_store::path::Path::from_absolute_path(&folder)
            .map_err(|error| Error::Internal(error.to_string()))?;
        let whole = DurableLocalStore::at_root();
        let log = default_logstore(
            Arc::new(PrefixStore::new(whole.clone(), prefix)),
            Arc::new(whole),
            &location,
            &StorageConfig::default(),
        );
        let table = Arc::new(Table::new(name.to_owned(), self.objects(), log));
        tables.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }
}

/// Whether a folder holds a table: its log has an entry. One whose making was interrupted has none.
fn has_log(folder: &Path) -> bool {
    let entries = fs::read_dir(folder.join("_delta_log"))
        .into_iter()
        .flatten();
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        let name = Path::new(&name);
        name.extension()
            .is_some_and(|extension| extension == "json" || extension == "parquet")
    })
}

/// The known names that a typing mistake may have meant, at most three.
fn nearest(name: &str, known: &[String]) -> Vec<String> {
    let mut scored: Vec<(f64, &String)> = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .into_iter()
        .take(3)
        .map(|(_, known)| known.clone())
        .collect()
}

fn not_readable(folder: &Path, error: &std::io::Error) -> Error {
    tracing::error!(folder = %folder.display(), %error, "the folder can't be read");
    Error::Unavailable(format!("the store's folder can't be read: {error}"))
}
