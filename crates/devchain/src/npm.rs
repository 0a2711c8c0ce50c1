//! Third-party parts that come from npm, installed from an embedded lock file into a cache
//! folder that all runs share. What is there already needs neither npm nor network.

use alloy_primitives::{hex, keccak256};
use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// What a long step says about itself, one line at a time.
pub type Progress<'a> = dyn FnMut(&str) + Send + 'a;

/// A set of npm packages, pinned by its lock file.
#[derive(Clone, Copy, Debug)]
pub struct NpmProject {
    /// Names the folder in the cache.
    pub name: &'static str,
    /// What is fetched, in messages, to people who know nothing of packages.
    pub what: &'static str,
    pub manifest: &'static str,
    pub lock: &'static str,
}

/// Why the packages are not there.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("no folder to keep downloads in: set OBOL_CACHE_DIR or HOME to an absolute path")]
    NoCache,
    #[error("OBOL_CACHE_DIR is {}, which is not an absolute path", .0.display())]
    RelativeCache(PathBuf),
    #[error(
        "npm is needed once to fetch {what}; install Node.js with npm, or point OBOL_CACHE_DIR at a cache \
         that was filled elsewhere"
    )]
    NoNpm { what: &'static str },
    #[error(
        "npm could not fetch {what} ({status}): {words}; see that npm reaches its registry (npm ping) and start \
         again, or point OBOL_CACHE_DIR at a cache that was filled elsewhere"
    )]
    Npm { what: &'static str, status: std::process::ExitStatus, words: String },
    #[error("{what} in {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "no {program} for {os} on {arch} in npm; install Foundry's anvil and put it on PATH, or set ANVIL_BIN"
    )]
    Platform { program: &'static str, os: &'static str, arch: &'static str },
    #[error("ANVIL_BIN is {}, which is no file", .0.display())]
    AnvilBin(PathBuf),
}

impl ProvisionError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// An installed [`NpmProject`].
#[derive(Clone, Debug)]
pub struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// The folder that holds `node_modules`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn package(&self, name: &str) -> PathBuf {
        self.folder.join("node_modules").join(name)
    }

    /// Places a script where its imports find the packages. Its name carries its content, so
    /// that two versions of a script never overwrite each other.
    pub fn script(&self, stem: &str, text: &str) -> Result<PathBuf, ProvisionError> {
        let path = self.folder.join(format!("{stem}-{}.mjs", digest([text])));
        if !path.is_file() {
            let failed = || ProvisionError::io("cannot place a script", &path);
            let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed())?;
            file.write_all(text.as_bytes()).map_err(failed())?;
            file.persist(&path).map_err(|error| failed()(error.error))?;
        }
        Ok(path)
    }
}

/// npm follows its reason with pages of usage.
const EXCERPT: usize = 300;

/// How often a process looks whether another one has finished installing.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl NpmProject {
    /// Finds the packages in the cache, or has npm fetch them. A half-done installation is
    /// never visible: npm works in a sibling folder, which is renamed when it is complete.
    pub async fn install(&self, progress: &mut Progress<'_>) -> Result<Installed, ProvisionError> {
        self.install_in(&cache_folder()?, progress).await
    }

    /// As [`Self::install`], with a cache of the caller's.
    pub async fn install_in(
        &self,
        cache: &Path,
        progress: &mut Progress<'_>,
    ) -> Result<Installed, ProvisionError> {
        let name = format!("{}-{}", self.name, digest([self.manifest, self.lock]));
        let folder = cache.join(&name);
        if folder.is_dir() {
            return Ok(Installed { folder });
        }
        fs::create_dir_all(cache).map_err(ProvisionError::io("cannot create the cache", cache))?;
        let _lock = self.lock(&cache.join(format!("{name}.lock")), progress).await?;
        if !folder.is_dir() {
            self.fetch(cache, &name, &folder, progress).await?;
        }
        Ok(Installed { folder })
    }

    /// One process installs, others wait. The system drops the lock of a process that dies.
    async fn lock(&self, path: &Path, progress: &mut Progress<'_>) -> Result<fs::File, ProvisionError> {
        let file = fs::File::create(path).map_err(ProvisionError::io("cannot create a lock", path))?;
        let mut waiting = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) => {
                    if !waiting {
                        progress(&format!("another process is fetching {}; waiting for it", self.what));
                        waiting = true;
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(fs::TryLockError::Error(error)) => {
                    return Err(ProvisionError::io("cannot lock", path)(error));
                }
            }
        }
    }

    /// Needs the lock: what else bears this prefix was left by a process that was killed.
    async fn fetch(
        &self,
        cache: &Path,
        name: &str,
        folder: &Path,
        progress: &mut Progress<'_>,
    ) -> Result<(), ProvisionError> {
        let prefix = format!("{name}.part-");
        remove_leftovers(cache, &prefix)?;
        progress(&format!("fetching {} with npm into {} (once)", self.what, cache.display()));
        let part = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(cache)
            .map_err(ProvisionError::io("cannot create a folder", cache))?;
        for (file, text) in [("package.json", self.manifest), ("package-lock.json", self.lock)] {
            fs::write(part.path().join(file), text)
                .map_err(ProvisionError::io("cannot write", part.path()))?;
        }
        self.run_npm(part.path()).await?;
        fs::rename(part.path(), folder).map_err(ProvisionError::io("cannot rename to", folder))?;
        progress(&format!("fetched {}", self.what));
        Ok(())
    }

    async fn run_npm(&self, folder: &Path) -> Result<(), ProvisionError> {
        let output = Command::new("npm")
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--prefer-offline",
                "--loglevel=error",
            ])
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ProvisionError::NoNpm { what: self.what },
                _ => ProvisionError::io("cannot run npm", folder)(error),
            })?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words: Vec<_> = words
            .lines()
            .map(|line| line.strip_prefix("npm error").unwrap_or(line).trim())
            .filter(|line| !line.is_empty())
            .collect();
        let words = words.join(" ").chars().take(EXCERPT).collect();
        Err(ProvisionError::Npm { what: self.what, status: output.status, words })
    }
}

fn remove_leftovers(cache: &Path, prefix: &str) -> Result<(), ProvisionError> {
    let failed = || ProvisionError::io("cannot clear the remains of an interrupted fetch", cache);
    for entry in fs::read_dir(cache).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path()).map_err(failed())?;
        }
    }
    Ok(())
}

/// Where downloads are kept: `$OBOL_CACHE_DIR`, else `$XDG_CACHE_HOME/obol`, else
/// `$HOME/.cache/obol`. A relative path is no cache: it would be another one in each folder.
pub fn cache_folder() -> Result<PathBuf, ProvisionError> {
    // What the user set for this program is meant; others' variables are not ours to judge.
    if let Some(set) = env::var_os("OBOL_CACHE_DIR").map(PathBuf::from).filter(|path| path != Path::new("")) {
        return if set.is_absolute() { Ok(set) } else { Err(ProvisionError::RelativeCache(set)) };
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .map(|path| path.join("obol"))
        .or_else(|| absolute("HOME").map(|path| path.join(".cache/obol")))
        .ok_or(ProvisionError::NoCache)
}

fn digest<const N: usize>(texts: [&str; N]) -> String {
    hex::encode(&keccak256(texts.join("\0"))[..8])
}
