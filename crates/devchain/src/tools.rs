use crate::npm::{Installed, NpmProject, Progress, ProvisionError};
use std::{
    env,
    path::{Path, PathBuf},
};

const PARTS: NpmProject = NpmProject {
    name: "devchain",
    what: "the parts of a local chain (anvil, Circle's USDC)",
    manifest: include_str!("../npm/package.json"),
    lock: include_str!("../npm/package-lock.json"),
};

/// The parts of a local chain: anvil, Circle's compiled token, Multicall3.
#[derive(Clone, Debug)]
pub struct Tools {
    pub(crate) anvil: PathBuf,
    pub(crate) packages: Installed,
}

/// Finds what a chain needs, fetching it on first use. The binary is `$ANVIL_BIN`, else the
/// `anvil` on PATH, else npm's; the contracts always come from npm.
pub async fn provision(progress: &mut Progress<'_>) -> Result<Tools, ProvisionError> {
    let own = own_anvil()?;
    let packages = PARTS.install(progress).await?;
    let anvil = match own {
        Some(path) => path,
        None => foundry(&packages, "anvil")?,
    };
    Ok(Tools { anvil, packages })
}

impl Tools {
    pub fn anvil(&self) -> &Path {
        &self.anvil
    }
}

fn own_anvil() -> Result<Option<PathBuf>, ProvisionError> {
    if let Some(path) = env::var_os("ANVIL_BIN").map(PathBuf::from) {
        return if path.is_file() { Ok(Some(path)) } else { Err(ProvisionError::AnvilBin(path)) };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::split_paths(&path).map(|folder| folder.join("anvil")).find(|file| file.is_file()))
}

/// npm's package of a Foundry program is a launcher in JavaScript, which forgets the exit code; the
/// binary itself is in a package per platform, which needs no install script.
pub fn foundry(packages: &Installed, program: &'static str) -> Result<PathBuf, ProvisionError> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    let unknown = || ProvisionError::Platform { program, os, arch };
    let system = match os {
        "linux" => "linux",
        "macos" => "darwin",
        _ => return Err(unknown()),
    };
    let machine = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return Err(unknown()),
    };
    let package = packages.package(&format!("@foundry-rs/{program}-{system}-{machine}"));
    let file = package.join("bin").join(program);
    if file.is_file() { Ok(file) } else { Err(unknown()) }
}
