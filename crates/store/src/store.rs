//! A folder of tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::commit::{Commit, Outcome};
use crate::location::{Objects, read_if_there};
use crate::table::{Table, create_actions};
use crate::{Declaration, Error, Location, Result};

/// Where the engine finds a store's files. The URL names no folder: no query can reach beyond it.
pub const OBJECT_STORE_URL: &str = "didymium://store/";

/// The folder for all that is not a table.
pub(crate) const OWN_FOLDER: &str = "_didymium";

/// What makes a place a store.
pub(crate) const MARKER: &str = "_didymium/store.json";

/// The marker's content.
const FORMAT: &str = "{\"format\": 1}\n";

/// A store: one Delta table in each folder below its root.
#[derive(Debug)]
pub struct Store {
    location: Location,
    objects: Objects,
    /// The tables that have been opened.
    tables: Mutex<BTreeMap<String, Arc<Table>>>,
}

impl Store {
    /// Makes an empty store of a place that is new, empty, or a store already.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a place that holds anything else, [`Error::Unavailable`] where it
    /// can't be written.
    pub async fn create(location: impl Into<Location>) -> Result<Self> {
        let location = location.into();
        if let Location::Folder(folder) = &location {
            make_folders(folder).map_err(|error| {
                Error::Unavailable(format!("the folder {location} can't be made: {error}"))
            })?;
        }
        let place = absolute(&location)?;
        let objects = Objects::of(&place).await?;
        if !is_store(&objects, &location).await? {
            // Ours is there already where the marker was about to be written.
            let listed = objects.inside.list_with_delimiter(None).await;
            let listed = listed.map_err(|error| not_readable(&location, &error))?;
            let foreign = |path: &Path| path.filename() != Some(OWN_FOLDER);
            if !listed.objects.is_empty() || listed.common_prefixes.iter().any(foreign) {
                return Err(Error::Precondition(format!(
                    "{location} is not a Didymium store and is not empty: name a new or empty place"
                )));
            }
            let made = objects.inside.put(&Path::from(MARKER), FORMAT.into()).await;
            made.map_err(|error| {
                Error::Unavailable(format!("the store {location} can't be made: {error}"))
            })?;
        }
        Self::opened(place, objects)
    }

    /// Opens a store.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a place that is not a store of a known format.
    pub async fn open(location: impl Into<Location>) -> Result<Self> {
        let location = location.into();
        let place = absolute(&location).map_err(|_| no_store(&location))?;
        let objects = Objects::of(&place).await?;
        if !is_store(&objects, &location).await? {
            return Err(no_store(&location));
        }
        Self::opened(place, objects)
    }

    fn opened(location: Location, objects: Objects) -> Result<Self> {
        if let Location::Folder(folder) = &location
            && folder
                .to_str()
                .is_none_or(|root| root.contains(['%', '\\', '#', '?', '\t', '\n']))
        {
            return Err(Error::Precondition(format!(
                "the folder {location} has a character in its path that a table's address can't hold: choose another"
            )));
        }
        Ok(Self {
            location,
            objects,
            tables: Mutex::default(),
        })
    }

    /// The store's place.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The files of the store, addressed from its root.
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects.inside)
    }

    /// The names of all tables, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the store can't be read.
    pub async fn table_names(&self) -> Result<Vec<String>> {
        let listed = self.objects.inside.list_with_delimiter(None).await;
        let listed = listed.map_err(|error| not_readable(&self.location, &error))?;
        let folders = listed.common_prefixes.iter();
        let names = folders.filter_map(|folder| folder.filename().map(str::to_owned));
        let mut tables = Vec::new();
        for name in names {
            if self.has_table(&name).await? {
                tables.push(name);
            }
        }
        tables.sort();
        Ok(tables)
    }

    /// Whether there is a table of this name: its log has an entry. One whose making was interrupted
    /// has none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the store can't be read.
    pub async fn has_table(&self, name: &str) -> Result<bool> {
        if name.is_empty() || name.contains(['/', '.']) {
            return Ok(false);
        }
        // A log begins with this entry, unless another program cut it off.
        let first = Path::from_iter([name, "_delta_log", "00000000000000000000.json"]);
        match self.objects.inside.head(&first).await {
            Ok(_) => return Ok(true),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(not_readable(&self.location, &error)),
        }
        let log = Path::from_iter([name, "_delta_log"]);
        let mut entries = self.objects.inside.list(Some(&log));
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|error| not_readable(&self.location, &error))?;
            if matches!(entry.location.extension(), Some("json" | "parquet")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The table of this name.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], with the names that come nearest.
    pub async fn table(&self, name: &str) -> Result<Arc<Table>> {
        if !self.has_table(name).await? {
            return Err(self.unknown_table(name, |_| true).await);
        }
        self.handle(name)
    }

    /// What is said of a table that is not there, or that a caller may not see: the names that come
    /// nearest among those that may be seen.
    pub async fn unknown_table(&self, name: &str, is_seen: impl Fn(&str) -> bool) -> Error {
        let known = match (self.table_names().await, self.view_names().await) {
            (Ok(tables), Ok(views)) => [tables, views].concat(),
            (Err(error), _) | (_, Err(error)) => return error,
        };
        let seen: Vec<String> = known.into_iter().filter(|name| is_seen(name)).collect();
        Error::UnknownTable {
            name: name.to_owned(),
            similar: nearest(name, &seen),
        }
    }

    /// Makes a table.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where there is a table or view of this name.
    pub async fn create_table(&self, declaration: &Declaration, now_ms: i64) -> Result<Arc<Table>> {
        let name = &declaration.name;
        let exists = || Error::AlreadyExists(format!("there is a table {name} already"));
        if self.has_table(name).await? {
            return Err(exists());
        }
        if self.view(name).await?.is_some() {
            return Err(Error::AlreadyExists(format!("there is a view {name}")));
        }
        let table = self.handle(name)?;
        let (actions, operation) = create_actions(declaration, table.log())?;
        let commit = Commit {
            message: Some(format!("create table {name}")),
            ..Commit::new(name, "didymium", now_ms, operation)
        };
        match commit.run(table.log(), None, actions).await? {
            Outcome::Committed(_) => Ok(table),
            Outcome::Lost => Err(exists()),
        }
    }

    /// Forgets a table that is gone.
    pub(crate) fn forget(&self, name: &str) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.remove(name);
    }

    fn handle(&self, name: &str) -> Result<Arc<Table>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(name) {
            return Ok(Arc::clone(table));
        }
        let log = self.objects.log_of(name)?;
        let table = Arc::new(Table::new(name.to_owned(), self.objects(), log));
        tables.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }
}

/// Makes a folder and those that lead to it, on the disk for good.
fn make_folders(folder: &FilePath) -> std::io::Result<()> {
    let missing: Vec<&FilePath> = folder.ancestors().take_while(|it| !it.exists()).collect();
    fs::create_dir_all(folder)?;
    for made in missing {
        // A relative path begins in the folder of the process.
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        fs::File::open(above.unwrap_or(FilePath::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The place as every program sees it.
fn absolute(location: &Location) -> Result<Location> {
    let Location::Folder(folder) = location else {
        return Ok(location.clone());
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| not_readable(location, &error))?;
    Ok(Location::Folder(folder))
}

/// Whether the place has the marker of a store, of a format that this release knows.
async fn is_store(objects: &Objects, location: &Location) -> Result<bool> {
    match read_if_there(objects.inside.as_ref(), &Path::from(MARKER)).await {
        Ok(None) => Ok(false),
        Ok(Some(format)) if format.trim_ascii() == FORMAT.trim().as_bytes() => Ok(true),
        Ok(Some(_)) => Err(Error::Precondition(format!(
            "the store {location} was made by a newer release: use that release"
        ))),
        Err(error) => Err(not_readable(location, &error)),
    }
}

fn no_store(location: &Location) -> Error {
    Error::Precondition(format!(
        "{location} is not a Didymium store: make one with `didymium init --store {location}`"
    ))
}

/// The known names that a typing mistake may have meant, at most three.
pub(crate) fn nearest(name: &str, known: &[String]) -> Vec<String> {
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

fn not_readable(location: &Location, error: &dyn std::error::Error) -> Error {
    tracing::error!(%location, %error, "the store can't be read");
    Error::Unavailable(format!("the store can't be read: {error}"))
}
