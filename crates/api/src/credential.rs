use crate::{
    fault::Faults,
    file::{self, Stamp},
    manifest::{Entry, Located, ServiceOffer, UpstreamSpec},
};
use std::{
    env,
    path::{Path, PathBuf},
};

/// Servers refuse longer header lines.
const MAX_BYTES: u64 = 8 * 1024;

/// The file that a document takes its credential from, so that the document is read again when
/// the file changes.
#[derive(Debug)]
pub(crate) struct Credential {
    path: PathBuf,
    /// None when there is no such file.
    stamp: Option<Stamp>,
}

impl Credential {
    pub(crate) fn of(manifest: &ServiceOffer, folder: &Path) -> Option<Self> {
        let upstream = &manifest.spec.read()?.value.upstream.read()?.value;
        let path = folder.join(&upstream.authorization_file.read()?.value);
        let stamp = Stamp::of(&path).ok();
        Some(Self { path, stamp })
    }

    pub(crate) fn is_current(&self) -> bool {
        Stamp::of(&self.path).ok() == self.stamp
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.stamp.is_none_or(|stamp| stamp.is_settled())
    }
}

/// The whole `Authorization` header for the upstream, if it needs one. No fault repeats any of
/// its characters.
pub(crate) fn read(
    upstream: &UpstreamSpec,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> Option<Option<String>> {
    match (&upstream.authorization_env, &upstream.authorization_file) {
        (Entry::Refused, _) | (_, Entry::Refused) => None,
        (Entry::Absent, Entry::Absent) => Some(None),
        (Entry::Read(_), Entry::Read(file)) => {
            file.refuse(faults, "does not go with authorizationEnv; keep one of the two");
            None
        }
        (Entry::Read(name), Entry::Absent) => match env::var(&name.value) {
            Ok(value) => header(value, name, faults).map(Some),
            Err(env::VarError::NotPresent) => {
                name.refuse(faults, format!("the environment variable {} is not set", name.value));
                None
            }
            Err(env::VarError::NotUnicode(_)) => {
                name.refuse(faults, format!("the environment variable {} is not text", name.value));
                None
            }
        },
        (Entry::Absent, Entry::Read(name)) => from_file(name, folder, faults).map(Some),
    }
}

fn from_file(name: &Located<String>, folder: &Path, faults: &mut Faults<'_>) -> Option<String> {
    let path = folder.join(&name.value);
    match file::read(&path, MAX_BYTES) {
        Ok(read) => header(read.text, name, faults),
        Err(error) => {
            name.refuse(faults, format!("{} {error}", path.display()));
            None
        }
    }
}

fn header(value: String, source: &Located<String>, faults: &mut Faults<'_>) -> Option<String> {
    as_header(&value).map_err(|why| source.refuse(faults, format!("{} {why}", source.value))).ok()
}

/// The value as it is sent, or why it cannot be.
pub(crate) fn as_header(value: &str) -> Result<String, &'static str> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err("holds no credential");
    }
    if !trimmed.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        return Err(
            "cannot be an Authorization header: it must be one line of printable ASCII, such as \"Bearer ...\"",
        );
    }
    Ok(trimmed.to_owned())
}
