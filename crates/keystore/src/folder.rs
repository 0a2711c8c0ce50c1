//! Where keystores are kept.

use crate::{FormatError, MAX_FILE, Sealed};
use std::{
    ffi::OsStr,
    fmt,
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What a wallet is called. It is a file's name, and never looks like a path, an option, an
/// address or a hidden file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a wallet's name: up to 64 letters, digits, -, _ and ., with a letter or digit first, without 0x \
     before and .json behind"
)]
pub struct NameError(String);

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let good = (1..=64).contains(&text.len())
            && text.bytes().all(is_plain)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !text.starts_with("0x")
            && !text.ends_with(".json");
        if good { Ok(Self(text.to_owned())) } else { Err(NameError(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a keystore could not be read from its file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Reads no more of a file than a keystore has.
pub fn read(path: &Path) -> Result<Sealed, ReadError> {
    let mut text = Vec::new();
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(Sealed::parse(&text)?)
}

/// Why a keystore was not stored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is there already, and no keystore is ever overwritten; take another name", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be made: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl StoreError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A folder of keystores: ours, and those that other programs put there.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A file of the folder, and the keystore in it if it is one.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub path: PathBuf,
    pub sealed: Result<Sealed, ReadError>,
}

impl Folder {
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a wallet of this name will be, if there is none yet.
    pub fn vacant(&self, name: &Name) -> Result<PathBuf, StoreError> {
        let path = self.0.join(format!("{name}.json"));
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
            Err(error) => Err(StoreError::io(&path)(error)),
            Ok(_) => Err(StoreError::Exists(path)),
        }
    }

    /// Stores it whole or not at all, for its owner alone, and makes the folder if need be.
    pub fn store(&self, name: &Name, sealed: &Sealed) -> Result<PathBuf, StoreError> {
        let path = self.vacant(name)?;
        let failed = || StoreError::io(&path);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(StoreError::io(&self.0))?;
        // It is hidden, and has the mode 0600, from its first byte.
        let mut part = tempfile::Builder::new().prefix(".part-").tempfile_in(&self.0).map_err(failed())?;
        part.write_all(sealed.to_json().as_bytes()).map_err(failed())?;
        part.as_file().sync_all().map_err(failed())?;
        part.persist_noclobber(&path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists(path.clone()),
            _ => failed()(error.error),
        })?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(failed())?;
        Ok(path)
    }

    /// The file of that name, ours or another program's.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        if Path::new(name).file_name() != Some(OsStr::new(name)) {
            return None;
        }
        [format!("{name}.json"), name.to_owned()]
            .into_iter()
            .map(|file| self.0.join(file))
            .find(|path| path.is_file())
    }

    /// Every file but the hidden ones, by name.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in self.0.read_dir()? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A pipe would be waited on for ever.
            if !file.starts_with('.') && path.is_file() {
                let name = file.strip_suffix(".json").unwrap_or(&file).to_owned();
                entries.push(Entry { name, sealed: read(&path), path });
            }
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }
}
