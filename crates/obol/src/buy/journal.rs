//! What was signed and not accounted for yet, one file for each request of a payer. It is on the disk
//! before the payment leaves: whatever happens then, the next run finds it, and sends the same
//! payment instead of a second one.

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

/// A payment that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signed {
    /// For people.
    pub(super) request: String,
    pub(super) chain: String,
    pub(super) asset: Address,
    pub(super) payer: Address,
    pub(super) pay_to: Address,
    pub(super) amount: String,
    pub(super) nonce: B256,
    /// Seconds since the Unix epoch.
    pub(super) valid_before: u64,
    header: String,
    value: String,
}

impl Signed {
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
        let lock = opened().map_err(|error: io::Error| kept(folder, &error))?;
        Ok(Self { folder: folder.to_owned(), file: folder.join(format!("{name:x}.json")), _lock: lock })
    }

    /// What was signed before, and not accounted for.
    pub(super) fn open_payment(&self) -> Result<Option<Signed>, Failure> {
        match fs::read(&self.file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Failure::config(format!(
                    "{} cannot be read ({error}); it holds a signed payment that may still be taken: look at it, \
                     and move it away only when that has expired",
                    self.file.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(kept(&self.file, &error)),
        }
    }

    /// Has it on the disk when this returns.
    pub(super) fn keep(&self, signed: &Signed) -> Result<(), Failure> {
        let written = || {
            let mut part = tempfile::NamedTempFile::new_in(&self.folder)?;
            part.write_all(&serde_json::to_vec_pretty(signed)?)?;
            part.as_file().sync_all()?;
            part.persist(&self.file).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|error: io::Error| kept(&self.file, &error))
    }

    /// It is known what became of it.
    pub(super) fn close(&self, signed: &Signed) -> Result<(), Failure> {
        let done = self.folder.join("done").join(format!("{:x}.json", signed.nonce));
        fs::rename(&self.file, &done).map_err(|error| kept(&done, &error))
    }
}

fn kept(path: &Path, error: &io::Error) -> Failure {
    Failure::config(format!(
        "--purchases: {}: {error}; nothing is paid without a place to keep it",
        path.display()
    ))
}
