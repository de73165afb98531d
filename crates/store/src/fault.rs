//! What is wrong with the rows of a load, by file, row and column.

use std::fmt;

/// One broken rule at one place of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The input file's name.
    pub file: String,
    /// Its line (CSV) or row (Parquet), counted from 1; 0 for a fault of the file as a whole.
    pub row: u64,
    /// The column; empty where the row or file as a whole is at fault.
    pub column: String,
    /// The rule, and what to do.
    pub rule: String,
    /// The value that was found.
    pub value: Option<String>,
}

/// Every fault of a load; only the first [`Faults::SHOWN`] are kept in full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    shown: Vec<Fault>,
    more: u64,
}

impl Faults {
    /// How many faults are told; the others are counted.
    pub const SHOWN: usize = 50;

    /// Faults that were told elsewhere: the first ones, and how many there are in all.
    pub fn told(shown: Vec<Fault>, count: u64) -> Self {
        let more = count.saturating_sub(shown.len() as u64);
        Self { shown, more }
    }

    /// Notes a fault; a long value is cut.
    pub fn add(&mut self, mut fault: Fault) {
        if self.shown.len() < Self::SHOWN {
            fault.value = fault.value.map(|value| shortened(&value));
            self.shown.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Adds those of another part of the files. What every part of a file says of the whole is told once.
    pub(crate) fn extend(&mut self, other: Self) {
        for fault in other.shown {
            if !self.shown.contains(&fault) {
                self.add(fault);
            }
        }
        self.more += other.more;
    }

    /// The faults that are told, in the order they were found.
    pub fn shown(&self) -> &[Fault] {
        &self.shown
    }

    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.shown.len() as u64 + self.more
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

/// A cell as a message shows it.
fn shortened(cell: &str) -> String {
    const LONGEST: usize = 80;
    match cell.char_indices().nth(LONGEST) {
        None => cell.to_owned(),
        Some((end, _)) => format!("{}…", &cell[..end]),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.row > 0 {
            write!(f, " row {}", self.row)?;
        }
        if !self.column.is_empty() {
            write!(f, ", column {}", self.column)?;
        }
        write!(f, ": {}", self.rule)?;
        match &self.value {
            Some(value) => write!(f, ", found '{value}'"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        write!(
            f,
            "{count} {}, nothing was loaded",
            if count == 1 { "fault" } else { "faults" }
        )?;
        for fault in &self.shown {
            write!(f, "\n  {fault}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
