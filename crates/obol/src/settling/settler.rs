//! The settler's key, from a file that holds it bare or encrypted.

use super::args::SettlingArgs;
use crate::{
    faults::Faults,
    password::{PasswordSource, Unusable},
    secret_file,
};
use obol_evm::{Key, KeyError};
use obol_keystore::{Password, Sealed};
use std::path::{Path, PathBuf};

const KEY_FILE: &str = "--settler-key-file";
const PASSWORD_FILE: &str = "--settler-password-file";

const FORM: &str = "it holds a private key as 64 hex digits, with or without 0x, or a keystore";

/// The account that sends settlements, and where its key lies.
#[derive(Clone, Debug)]
pub(crate) struct SettlerAccount {
    pub(crate) key: Key,
    pub(crate) key_file: PathBuf,
    pub(crate) password_file: Option<PathBuf>,
}

pub(super) fn account(args: &SettlingArgs, faults: &mut Faults) -> Option<SettlerAccount> {
    Some(SettlerAccount {
        key: key(args, faults)?,
        key_file: args.settler_key_file.clone()?,
        password_file: args.settler_password_file.clone(),
    })
}

/// No fault quotes the file.
fn key(args: &SettlingArgs, faults: &mut Faults) -> Option<Key> {
    let Some(path) = &args.settler_key_file else {
        faults.add(KEY_FILE, format!("is missing: name the settler's key file; {FORM}"));
        return None;
    };
    let shown = path.display();
    let read = secret_file::read("the settler's key", path).map_err(|error| {
        format!("{shown} cannot be read: {error}; make it readable for obol's user; {FORM}")
    });
    let text = faults.sift(KEY_FILE, read)?;
    if text.trim_start().starts_with('{') {
        let sealed = Sealed::parse(text.as_bytes()).map_err(|error| format!("{shown}: {error}"));
        let sealed = faults.sift(KEY_FILE, sealed)?;
        let password = password(args.settler_password_file.as_deref(), path, faults)?;
        let secret = sealed.open(&password).map_err(|error| format!("{shown}: {error}"));
        return faults.sift(KEY_FILE, secret).map(|secret| secret.key().clone());
    }
    if args.settler_password_file.is_some() {
        faults.add(PASSWORD_FILE, format!("{shown} is not encrypted, and needs none; leave it out"));
    }
    let key = text.parse().map_err(|error: KeyError| format!("the key in {shown} is {error}; {FORM}"));
    faults.sift(KEY_FILE, key)
}

/// Nobody is asked: a role starts when nobody is there.
fn password(file: Option<&Path>, keystore: &Path, faults: &mut Faults) -> Option<Password> {
    let source = PasswordSource {
        what: "the settler's password",
        flag: PASSWORD_FILE,
        file,
        variable: "OBOL_SETTLER_PASSWORD",
    };
    match source.given() {
        Ok(Some(password)) => return Some(password),
        Ok(None) => faults.add(
            PASSWORD_FILE,
            format!(
                "is missing: {} is encrypted; name the file with its password, or set OBOL_SETTLER_PASSWORD",
                keystore.display()
            ),
        ),
        Err(Unusable { setting, why }) => faults.add(setting, why),
    }
    None
}
