//! How far a load has come, for those who watch.

use std::sync::{Arc, Mutex, PoisonError};

/// What a load is doing; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Stage>>);

/// The stages of a load, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has not begun.
    #[default]
    Waiting,
    /// The files are hashed, by which they are known again.
    Hashing,
    /// A file is read and its rows are checked.
    Reading {
        /// Its name.
        file: String,
        /// Its place among the load's, counted from 1.
        place: usize,
        /// How many files the load has.
        of: usize,
    },
    /// The rows are put in order.
    Sorting {
        /// How many they are.
        rows: u64,
    },
    /// The rows are compared with what the table holds.
    Comparing,
    /// New rows become Parquet files.
    Writing {
        /// How many they are.
        rows: u64,
    },
    /// The files become a version of the table.
    Committing,
}

impl Progress {
    /// What the load is doing now.
    pub fn stage(&self) -> Stage {
        let stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stage.clone()
    }

    pub(crate) fn enter(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}
