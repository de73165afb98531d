//! How far a stated value can be relied upon.

/// The status of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The source's definite figure.
    Final,
    /// The source says that it may still change.
    Provisional,
    /// The source estimates it.
    Estimated,
    /// Printed with fewer digits than are known elsewhere.
    Rounded,
    /// Computed from other rows.
    Derived,
    /// Known to be wrong from a better source.
    Contradicted,
    /// Replaced by a later figure of the same authority.
    Superseded,
    /// The authority keeps it to itself.
    NotDisclosed,
    /// Nobody has it.
    NotAvailable,
    /// Taken back by its source.
    Withdrawn,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Final,
        Self::Provisional,
        Self::Estimated,
        Self::Rounded,
        Self::Derived,
        Self::Contradicted,
        Self::Superseded,
        Self::NotDisclosed,
        Self::NotAvailable,
        Self::Withdrawn,
    ];

    /// Whether a row of it never counts: known to be wrong, replaced, or itself the word that another
    /// one is taken back.
    pub fn is_set_aside(self) -> bool {
        matches!(
            self,
            Self::Contradicted | Self::Superseded | Self::Withdrawn
        )
    }

    /// The word in the column `status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Provisional => "provisional",
            Self::Estimated => "estimated",
            Self::Rounded => "rounded",
            Self::Derived => "derived",
            Self::Contradicted => "contradicted",
            Self::Superseded => "superseded",
            Self::NotDisclosed => "not_disclosed",
            Self::NotAvailable => "not_available",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The status that a word names.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}
