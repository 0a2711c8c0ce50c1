//! Files read whole, once per change.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What tells one content of a path from another without reading it. The change time catches
/// what keeps size and modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// File systems keep times as coarsely as two seconds: a file that changed more recently can
/// change again under the same stamp.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

impl Stamp {
    /// Of what `path` leads to, through symbolic links.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    pub(crate) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let latest = self.modified.0.max(self.changed.0);
        now.abs_diff(latest) > COARSEST_CLOCK.as_secs()
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not a regular file")]
    NotRegular,
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("is not UTF-8 text")]
    NotText,
    /// Somebody is writing it; what was read may be half of it.
    #[error("was being written each time it was read")]
    Changing,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) text: String,
    pub(crate) stamp: Stamp,
}

const ATTEMPTS: u32 = 3;

/// Reads a file of at most `limit` bytes that did not change meanwhile.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Content, ReadError> {
    for _ in 0..ATTEMPTS {
        // Asked before it is opened: to open a named pipe is to wait for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(ReadError::NotRegular);
        }
        let mut file = File::open(path)?;
        let stamp = Stamp::from(&file.metadata()?);
        let mut bytes = Vec::new();
        file.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if Stamp::from(&file.metadata()?) != stamp {
            continue;
        }
        if bytes.len() as u64 > limit {
            return Err(ReadError::TooLarge(limit));
        }
        let text = String::from_utf8(bytes).map_err(|_| ReadError::NotText)?;
        return Ok(Content { text, stamp });
    }
    Err(ReadError::Changing)
}
