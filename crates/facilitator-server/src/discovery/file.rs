//! Where the catalogue is kept while no facilitator runs.

use super::catalog::Entry;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};
use tempfile::NamedTempFile;

/// Why a catalogue cannot be kept there.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("{file} cannot be read: {error}")]
    Unread { file: String, error: io::Error },
    #[error(
        "{file} is no catalogue of this version or damaged ({error}); move it away, and the catalogue begins anew"
    )]
    Damaged { file: String, error: serde_json::Error },
    #[error("{file} cannot be written: {error}; its folder has to be there and writable")]
    Unwritten { file: String, error: io::Error },
}

/// Of the file's form.
#[derive(Serialize, Deserialize)]
enum Version {
    #[serde(rename = "1")]
    One,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: Version,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Keeping<'a> {
    version: Version,
    entries: Vec<&'a Entry>,
}

/// `None` where there is no file yet.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Entry>>, DiscoveryError> {
    let file = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice::<Kept>(&bytes) {
            Ok(Kept { version: Version::One, entries }) => Ok(Some(entries)),
            Err(error) => Err(DiscoveryError::Damaged { file, error }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiscoveryError::Unread { file, error }),
    }
}

/// Whoever reads the file finds what it was or what it is.
pub(super) fn write(path: &Path, entries: &[Arc<Entry>]) -> Result<(), DiscoveryError> {
    replace(path, entries)
        .map_err(|error| DiscoveryError::Unwritten { file: path.display().to_string(), error })
}

fn replace(path: &Path, entries: &[Arc<Entry>]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = NamedTempFile::new_in(folder)?;
    let mut text = BufWriter::new(part.as_file_mut());
    let entries = entries.iter().map(AsRef::as_ref).collect();
    serde_json::to_writer(&mut text, &Keeping { version: Version::One, entries })?;
    text.flush()?;
    drop(text);
    part.as_file().sync_all()?;
    part.persist(path)?;
    fs::File::open(folder)?.sync_all()
}
