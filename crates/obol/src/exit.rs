//! Exit codes, published in `docs/exit-codes.md`.

use std::{fmt, process::ExitCode};

/// Why a command ended without doing what it was asked. The number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It failed; the message says how.
    Failed = 1,
    /// Ledger and chain differ, or a check found something wrong.
    Differs = 3,
    /// A file or setting is not right.
    Config = 4,
    /// Something outside (a chain's endpoint, npm, a port) cannot be had.
    Unavailable = 5,
}

/// One clear sentence, and the code to exit with.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    pub(crate) fn differs(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Differs, message: message.to_string() }
    }

    pub(crate) fn config(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Config, message: message.to_string() }
    }

    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Unavailable, message: message.to_string() }
    }

    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("obol: {}", self.message);
        ExitCode::from(self.exit as u8)
    }
}

impl From<obol_ledger::LedgerError> for Failure {
    fn from(error: obol_ledger::LedgerError) -> Self {
        Self::failed(error)
    }
}

impl From<obol_facilitator::AuditError> for Failure {
    fn from(error: obol_facilitator::AuditError) -> Self {
        match error {
            obol_facilitator::AuditError::Ledger(error) => Self::failed(error),
            other => Self::unavailable(other),
        }
    }
}
