//! What was signed and not accounted for yet, one file for each request of a payer. It is on the disk
//! before the payment leaves: whatever happens then, the next run finds it, and sends the same
//! payment instead of a second one. An answer that was paid for is there before it is printed.

use crate::exit::Failure;
use alloy_primitives::{Address, B256, keccak256};
use obol_core::{Amount, ChainId, Payment};
use obol_wire::{PaymentHeader, header};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The place of one request's payment. While it is open no other run pays for the same request.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    file: PathBuf,
    _lock: File,
}

/// A payment that was signed, and what has come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// For people.
    pub(super) request: String,
    pub(super) chain: String,
    pub(super) asset: Address,
    pub(super) payer: Address,
    pub(super) pay_to: Address,
    amount: String,
    pub(super) nonce: B256,
    /// Seconds since the Unix epoch.
    pub(super) valid_before: u64,
    header: String,
    value: String,
    /// The answer that it has bought, until that is printed.
    pub(super) answer: Option<Bought>,
    ended: Option<Ended>,
}

/// An answer's head. Its body lies beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bought {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) transaction: Option<B256>,
    /// Whether the seller says that the money has moved.
    pub(super) settled: bool,
    /// False when the body broke off.
    pub(super) whole: bool,
}

/// What became of a payment that needs no looking after any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ended {
    Served,
    /// The chain has it, and the seller does not serve it.
    Taken,
    Expired,
    /// Left to itself: it may still be taken.
    Abandoned,
}

impl Kept {
    pub(super) fn new(request: String, payment: &Payment, sent: &PaymentHeader) -> Self {
        let authorization = &payment.authorization;
        Self {
            request,
            chain: payment.chain.to_string(),
            asset: payment.asset,
            payer: authorization.from,
            pay_to: authorization.to,
            amount: authorization.value.to_string(),
            nonce: authorization.nonce,
            valid_before: authorization.valid_before.saturating_to(),
            header: sent.name.to_owned(),
            value: sent.value.clone(),
            answer: None,
            ended: None,
        }
    }

    /// As it was sent.
    pub(super) fn header(&self) -> Result<PaymentHeader, Failure> {
        let known =
            [header::PAYMENT_SIGNATURE, header::X_PAYMENT].into_iter().find(|name| *name == self.header);
        let name = known.ok_or_else(|| Failure::config(format!("{:?} is no payment header", self.header)))?;
        Ok(PaymentHeader { name, value: self.value.clone() })
    }

    pub(super) fn chain(&self) -> Result<ChainId, Failure> {
        self.chain.parse().map_err(|error| Failure::config(format!("{}: {error}", self.chain)))
    }

    pub(super) fn amount(&self) -> Result<Amount, Failure> {
        Amount::parse_atomic(&self.amount)
            .map_err(|error| Failure::config(format!("{}: {error}", self.amount)))
    }
}

/// `$HOME/.obol/purchases`, where nothing else is said.
pub(super) fn default_folder() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.map(|home| home.join(".obol/purchases")).ok_or_else(|| {
        Failure::config("--purchases is missing, and HOME is not set: name a folder to keep payments in")
    })
}

impl Place {
    /// Waits while another run pays for the same request.
    pub(super) fn open(folder: &Path, payer: Address, request: B256) -> Result<Self, Failure> {
        let name = keccak256([payer.as_slice(), request.as_slice()].concat());
        let opened = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder.join("done"))?;
            let lock = File::create(folder.join(format!("{name:x}.lock")))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = opened().map_err(|error: io::Error| {
            Failure::config(format!(
                "--purchases: {}: {error}; nothing is paid without a place to keep it",
                folder.display()
            ))
        })?;
        Ok(Self { folder: folder.to_owned(), file: folder.join(format!("{name:x}.json")), _lock: lock })
    }

    /// What was signed before, and not accounted for.
    pub(super) fn earlier(&self) -> Result<Option<Kept>, Failure> {
        match fs::read(&self.file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Failure::config(format!(
                    "{} cannot be read ({error}); it holds a signed payment that may still be taken: look at it, \
                     and move it away only when that has expired",
                    self.file.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::config(format!("{} cannot be read: {error}", self.file.display()))),
        }
    }

    /// Has it on the disk when this returns.
    pub(super) fn keep(&self, kept: &Kept) -> Result<(), Failure> {
        self.write(&self.file, kept).map_err(|error| {
            Failure::config(format!("--purchases: {}: {error}; nothing was paid", self.file.display()))
        })
    }

    /// An answer that was paid for, before it is printed.
    pub(super) fn keep_answer(&self, kept: &Kept, body: &[u8]) -> io::Result<()> {
        let mut part = tempfile::NamedTempFile::new_in(&self.folder)?;
        part.write_all(body)?;
        part.as_file().sync_all()?;
        part.persist(self.body_file()).map_err(|error| error.error)?;
        self.write(&self.file, kept)
    }

    pub(super) fn body(&self) -> io::Result<Vec<u8>> {
        fs::read(self.body_file())
    }

    /// Nothing needs to be done about it any more.
    pub(super) fn close(&self, kept: &Kept, ended: Ended) -> io::Result<()> {
        self.file_away(kept, ended)?;
        fs::remove_file(&self.file)?;
        match fs::remove_file(self.body_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Leaves one payment to itself for another, of which one is kept at every moment.
    pub(super) fn replace(&self, abandoned: &Kept, kept: &Kept) -> Result<(), Failure> {
        self.file_away(abandoned, Ended::Abandoned).map_err(|error| {
            Failure::config(format!("--purchases: {}: {error}; nothing was paid", self.folder.display()))
        })?;
        self.keep(kept)
    }

    fn file_away(&self, kept: &Kept, ended: Ended) -> io::Result<()> {
        let done = self.folder.join("done").join(format!("{:x}.json", kept.nonce));
        self.write(&done, &Kept { ended: Some(ended), ..kept.clone() })
    }

    fn write(&self, to: &Path, kept: &Kept) -> io::Result<()> {
        let folder = to.parent().unwrap_or(&self.folder);
        let mut part = tempfile::NamedTempFile::new_in(folder)?;
        part.write_all(&serde_json::to_vec_pretty(kept)?)?;
        part.as_file().sync_all()?;
        part.persist(to).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    fn body_file(&self) -> PathBuf {
        self.file.with_extension("body")
    }
}
