/// Why the ledger could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be opened or is not a ledger.
    #[error("cannot open the ledger {path}: {why}")]
    Open { path: String, why: String },
    /// Written by a newer obol.
    #[error("the ledger {path} has schema {found}, this obol knows {known}; use a newer obol")]
    NewerSchema { path: String, found: i64, known: i64 },
    /// The database's own check found damage.
    #[error("the ledger {path} is damaged: {why}; restore a backup or run reconcile on a copy")]
    Damaged { path: String, why: String },
    /// A write or read failed; nothing of it is stored.
    #[error("the ledger did not answer: {0}")]
    Unavailable(String),
    /// Its writer has ended; only a restart brings it back.
    #[error("the ledger has stopped")]
    Stopped,
    /// A stored value is not one that obol writes.
    #[error("the ledger holds a value that obol does not write: {0}")]
    Corrupt(String),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}
