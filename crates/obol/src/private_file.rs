//! Files with secrets.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

/// Reads it, and warns when other users of the machine can do so, too.
pub(crate) fn read(path: &Path, what: &str) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    if let Ok(about) = fs::metadata(path)
        && about.is_file()
        && about.permissions().mode() & 0o077 != 0
    {
        let path = path.display();
        tracing::warn!("{what} can be read by other users of this machine: chmod 600 {path}");
    }
    Ok(text)
}
