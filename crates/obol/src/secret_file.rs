//! Files that hold a secret as text.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};
use zeroize::Zeroizing;

/// More than any key or password has.
const LONGEST: u64 = 1 << 16;

/// The whole text. It warns, once, when other users of the machine can read it too.
pub(crate) fn read(what: &str, path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_file() && about.permissions().mode() & 0o077 != 0 {
        let shown = path.display();
        tracing::warn!("{what} can be read by other users of this machine: chmod 600 {shown}");
    }
    text(file)
}

/// The whole text of something that is open.
pub(crate) fn text(from: impl Read) -> io::Result<Zeroizing<String>> {
    let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
    // A buffer that grows leaves copies of itself.
    let mut text = Zeroizing::new(String::with_capacity(longest + 1));
    from.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {LONGEST} bytes")));
    }
    Ok(text)
}
