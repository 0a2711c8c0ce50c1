//! Which file a word means.

use super::{FolderArgs, PasswordArgs};
use crate::{exit::Failure, password::Prompt};
use alloy_primitives::Address;
use obol_keystore::{Sealed, Secret};
use std::path::{Path, PathBuf};

/// A keystore file that is there.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) sealed: Sealed,
}

/// A wallet of the folder by its name, else a file by its path.
pub(super) fn find(word: &str, args: &FolderArgs) -> Result<Found, Failure> {
    let by_path = Path::new(word);
    let path = match args.folder() {
        Ok(folder) => match folder.find(word) {
            Some(path) => path,
            None if by_path.is_file() => by_path.to_owned(),
            None => {
                return Err(Failure::config(format!(
                    "there is no wallet {word:?} in {}, and no such file; see `obol wallet list`",
                    folder.path().display()
                )));
            }
        },
        // A file is found without a folder.
        Err(_) if by_path.is_file() => by_path.to_owned(),
        Err(failure) => return Err(failure),
    };
    let sealed = read(&path).map_err(Failure::config)?;
    Ok(Found { path, sealed })
}

pub(super) fn read(path: &Path) -> Result<Sealed, String> {
    obol_keystore::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl Found {
    pub(super) fn open(&self, password: &PasswordArgs) -> Result<Secret, Failure> {
        let shown = self.path.display();
        let password = password.read(&format!("the password of {shown}"), Prompt::Once)?;
        self.sealed.open(&password).map_err(|error| Failure::config(format!("{shown}: {error}")))
    }

    /// What the file says, else what the key says.
    pub(super) fn address(&self, password: &PasswordArgs) -> Result<Address, Failure> {
        match self.sealed.claimed_address() {
            Some(claimed) => Ok(claimed),
            None => self.open(password).map(|secret| secret.address()),
        }
    }
}
