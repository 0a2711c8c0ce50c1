//! Exit codes, published in `docs/exit-codes.md`.

use std::{fmt, process::ExitCode};

macro_rules! exits {
    ($( $name:ident = $code:literal $word:literal $meaning:literal, )*) => {
        /// Why a command ended without doing what it was asked. The number is the exit code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Exit { $( #[doc = $meaning] $name = $code, )* }

        const FAILURES: &[(u8, &str, &str)] = &[ $( (Exit::$name as u8, $word, $meaning), )* ];
    };
}

exits! {
    Failed = 1 "failed" "It failed; the message says how.",
    Differs = 3 "ledger and chain differ"
        "Ledger and chain differ, `chains check` found something wrong, an offer is not sold as it is written, or the demo's ledger does not agree.",
    Config = 4 "configuration refused" "A file or setting is not right; the message names it.",
    TooDear = 6 "the price is above what was allowed" "The price is above `--max-amount`; nothing was paid.",
    Unknown = 7 "a payment is out, and what became of it is not known"
        "A payment was signed, and it is not known yet whether it was taken; the same command goes on with it.",
    NotServed = 8 "paid, and not served"
        "A payment was taken, and the seller does not serve for it, or its answer broke off.",
    Unavailable = 5 "something outside (a chain's endpoint, npm, a port) cannot be had"
        "Something outside (a chain's endpoint, npm, a port) cannot be had.",
}

/// Every code: its number, in a word, in a sentence. 0 and 2 are clap's own.
pub(crate) fn published() -> Vec<(u8, &'static str, &'static str)> {
    let clap = [
        (0, "done", "It is done. A verifier or demo that was told to stop ends with it too."),
        (2, "usage", "The command line is not right; nothing was done."),
    ];
    let mut all: Vec<_> = FAILURES.iter().copied().chain(clap).collect();
    all.sort_unstable();
    all
}

/// One clear sentence, or one for each setting that is wrong, and the code to exit with.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    messages: Vec<String>,
}

impl Failure {
    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, messages: vec![message.to_string()] }
    }

    /// Each names its setting.
    pub(crate) const fn settings(messages: Vec<String>) -> Self {
        Self { exit: Exit::Config, messages }
    }

    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn differs(message: impl fmt::Display) -> Self {
        Self::new(Exit::Differs, message)
    }

    pub(crate) fn config(message: impl fmt::Display) -> Self {
        Self::new(Exit::Config, message)
    }

    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    pub(crate) fn too_dear(message: impl fmt::Display) -> Self {
        Self::new(Exit::TooDear, message)
    }

    pub(crate) fn not_served(message: impl fmt::Display) -> Self {
        Self::new(Exit::NotServed, message)
    }

    pub(crate) fn unknown(message: impl fmt::Display) -> Self {
        Self::new(Exit::Unknown, message)
    }

    pub(crate) fn report(&self) -> ExitCode {
        for message in &self.messages {
            eprintln!("obol: {message}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<obol_ledger::LedgerError> for Failure {
    fn from(error: obol_ledger::LedgerError) -> Self {
        Self::failed(error)
    }
}
