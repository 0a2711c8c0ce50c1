//! The commands that make a file.

use super::{Import, New, find, view};
use crate::{
    exit::Failure,
    password::{PasswordSource, Prompt},
    secret_file,
};
use obol_keystore::{Sealed, Secret};
use std::{io, path::Path};

pub(super) fn new(args: &New) -> Result<(), Failure> {
    let place = Place::vacant(args)?;
    place.store(&Secret::random().map_err(Failure::failed)?)
}

pub(super) fn import(args: &Import) -> Result<(), Failure> {
    let place = Place::vacant(&args.new)?;
    let secret = match (&args.from.key_file, &args.from.keystore) {
        (Some(file), _) => bare(file)?,
        (None, Some(file)) => another(file, args.keystore_password_file.as_deref())?,
        (None, None) => return Err(Failure::config("name the key as --key-file or --keystore")),
    };
    place.store(&secret)
}

/// Where the new file will be. That nothing is there is seen before anybody is asked for a
/// password.
struct Place<'a> {
    args: &'a New,
    folder: obol_keystore::Folder,
}

impl<'a> Place<'a> {
    fn vacant(args: &'a New) -> Result<Self, Failure> {
        let folder = args.folder.folder()?;
        folder.vacant(&args.name).map_err(Failure::config)?;
        Ok(Self { args, folder })
    }

    fn store(self, secret: &Secret) -> Result<(), Failure> {
        let Self { args, folder } = self;
        let password = args.password.read(&format!("the new password of {}", args.name), Prompt::Twice)?;
        let sealed = Sealed::seal(secret, &password).map_err(Failure::failed)?;
        let path = folder.store(&args.name, &sealed).map_err(Failure::config)?;
        view::stored(&args.name, secret.address(), &path, args.output);
        Ok(())
    }
}

/// Never quotes the file.
fn bare(file: &Path) -> Result<Secret, Failure> {
    const FORM: &str = "it has to hold a private key as 64 hex digits, with or without 0x";
    let (read, shown) = match file == Path::new("-") {
        true => (secret_file::text(io::stdin()), "standard input".to_owned()),
        false => (secret_file::read("the key", file), file.display().to_string()),
    };
    let text = read
        .map_err(|error| Failure::config(format!("--key-file: {shown} cannot be read: {error}; {FORM}")))?;
    text.parse().map_err(|error: obol_evm::KeyError| {
        Failure::config(format!("--key-file: the key in {shown} is {error}; {FORM}"))
    })
}

fn another(file: &Path, password_file: Option<&Path>) -> Result<Secret, Failure> {
    let sealed = find::read(file).map_err(|why| Failure::config(format!("--keystore: {why}")))?;
    let shown = file.display().to_string();
    let source = PasswordSource {
        what: &format!("the password of {shown}"),
        flag: "--keystore-password-file",
        file: password_file,
        variable: "OBOL_KEYSTORE_PASSWORD",
    };
    let password = source.read(Prompt::Once)?;
    sealed.open(&password).map_err(|error| Failure::config(format!("--keystore: {shown}: {error}")))
}
