use crate::published::part;
use anyhow::{Context, Result, ensure};
use obol_devchain::{NpmProject, foundry};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

const CAST: NpmProject = NpmProject {
    name: "test-cast",
    what: "Foundry's cast",
    manifest: include_str!("../cast/package.json"),
    lock: include_str!("../cast/package-lock.json"),
};

/// Foundry's `cast`, which keeps keys in the same files.
#[derive(Clone, Debug)]
pub struct Cast(PathBuf);

impl Cast {
    pub async fn fetched() -> Result<Option<Self>> {
        let installed = CAST.install(&mut |line| tracing::info!("{line}")).await;
        let program = installed.and_then(|packages| foundry(&packages, "cast"));
        part("Foundry's cast from npm", program.map(Self))
    }

    /// Makes a file of this name with the key, and no address in it.
    pub async fn seal(&self, (folder, name): (&Path, &str), key: &str, password: &str) -> Result<()> {
        let folder = folder.to_string_lossy();
        let args = ["wallet", "import", name, "--keystore-dir", &folder, "--private-key", key];
        self.run(&[&args[..], &["--unsafe-password", password]].concat()).await.map(drop)
    }

    /// What it says about the key in the file.
    pub async fn open(&self, (folder, name): (&Path, &str), password: &str) -> Result<String> {
        let folder = folder.to_string_lossy();
        let args = ["wallet", "decrypt-keystore", name, "--keystore-dir", &folder];
        self.run(&[&args[..], &["--unsafe-password", password]].concat()).await
    }

    async fn run(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.0)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cast")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cast {} {}: {said}", args[0], args[1]);
        Ok(String::from_utf8(output.stdout)?)
    }
}
