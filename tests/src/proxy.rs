//! A real proxy that asks at `/verify` before it forwards, with the files of `deploy/proxies/`.

mod config;

use crate::{
    executable::{Program, executable},
    fetch, get,
};
use anyhow::{Context, Result, bail};
use obol_core::Reason;
use std::{fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    Nginx,
    Caddy,
    Traefik,
}

impl ProxyKind {
    const fn program(self) -> Program {
        match self {
            Self::Nginx => Program::Nginx,
            Self::Caddy => Program::Caddy,
            Self::Traefik => Program::Traefik,
        }
    }

    const fn name(self) -> &'static str {
        self.program().name()
    }

    /// Whether it can put the receipt on the client's response.
    pub const fn gives_receipts(self) -> bool {
        matches!(self, Self::Nginx | Self::Caddy)
    }
}

/// A running proxy, on a port and in a folder of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

/// Between its choice and the proxy's start, a port may become somebody else's.
const PORTS_TO_TRY: usize = 5;

/// How long a proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Proxy {
    /// In front of a gate that answers, and of a service at this address and port. `None` where there is no such proxy to
    /// be had.
    pub async fn start(kind: ProxyKind, verifier: SocketAddr, service: &str) -> Result<Option<Self>> {
        let Some(executable) = executable(kind.program()).await? else { return Ok(None) };
        for _ in 0..PORTS_TO_TRY {
            let address = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
            let folder = tempfile::tempdir()?;
            config::write(kind, folder.path(), &config::Addresses { listen: address, verifier, service })?;
            let mut process = run(kind, &executable, folder.path())?;
            if is_ready(&mut process, address).await? {
                return Ok(Some(Self { address, _process: process, _folder: folder }));
            }
            tracing::warn!("{} ended: {}", kind.name(), words(folder.path()));
        }
        bail!("{} does not start; RUST_LOG=warn shows what it says", kind.name());
    }
}

fn run(kind: ProxyKind, executable: &Path, folder: &Path) -> Result<Child> {
    let mut command = Command::new(executable);
    match kind {
        ProxyKind::Nginx => command.args(["-e", "stderr", "-c", config::NGINX, "-p"]).arg(folder),
        ProxyKind::Caddy => command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]),
        ProxyKind::Traefik => command.arg("--configFile=traefik.yaml"),
    };
    // Caddy keeps things at home.
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, folder);
    }
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("stderr"))?)
        // Ctrl-C is for the test, which may still need it.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().with_context(|| format!("{}", executable.display()))
}

/// Whether the gate's answer comes through, or the process has ended.
async fn is_ready(process: &mut Child, address: SocketAddr) -> Result<bool> {
    let ready = async {
        loop {
            if process.try_wait()?.is_some() {
                return Ok(false);
            }
            let answered = fetch(address, get("/receipts/")).await;
            if answered.is_ok_and(|answered| answered.expect_refusal(Reason::NoReceipt).is_ok()) {
                // Another's gate would answer like this one, on a port that the proxy did not get.
                return Ok(process.try_wait()?.is_none());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.context("the proxy does not answer")?
}

fn words(folder: &Path) -> String {
    fs::read_to_string(folder.join("stderr")).unwrap_or_default().trim().to_owned()
}
