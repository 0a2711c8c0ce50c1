use crate::{PythonClient, client_script};
use anyhow::{Context, Result, bail};
use obol_devchain::{Devchain, Installed};
use serde::Deserialize;
use std::{net::SocketAddr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

/// Longer than any server should take to start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server of a published package: it sells `GET /paid` for 0.01 USDC and has its payments settled by
/// a facilitator, or is one. Dropping it kills it.
#[derive(Debug)]
pub struct PublishedServer {
    pub address: SocketAddr,
    _child: Child,
}

#[derive(Deserialize)]
struct Ready {
    port: u16,
}

impl PublishedServer {
    /// `script` is one of those in `clients/`; a token is for the facilitator.
    pub async fn node(
        packages: &Installed,
        script: &'static str,
        (facilitator, pay_to): (SocketAddr, &str),
        token: Option<&str>,
    ) -> Result<Self> {
        let mut node = client_script(packages, script)?;
        node.arg(format!("http://{facilitator}")).arg(pay_to).args(token);
        Self::start(node).await
    }

    /// The published facilitator, on a chain whose settler it uses.
    pub async fn facilitator(packages: &Installed, chain: &Devchain) -> Result<Self> {
        Self::facilitator_through(packages, chain, chain.url()).await
    }

    /// As [`Self::facilitator`], by way of another endpoint of the chain.
    pub async fn facilitator_through(packages: &Installed, chain: &Devchain, endpoint: &str) -> Result<Self> {
        let mut node = client_script(packages, "settle-v2")?;
        node.arg(endpoint).arg(chain.settler().key.to_string());
        Self::start(node).await
    }

    pub async fn python(python: &PythonClient, (facilitator, pay_to): (SocketAddr, &str)) -> Result<Self> {
        let mut flask = python.script(include_str!("../clients/sell.py"));
        flask.arg(format!("http://{facilitator}")).arg(pay_to);
        Self::start(flask).await
    }

    async fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let line =
            tokio::time::timeout(PATIENCE, lines.next_line()).await.context("the server did not start")??;
        let Some(line) = line else {
            let mut words = String::new();
            child.stderr.take().context("stderr")?.read_to_string(&mut words).await?;
            bail!("the server ended: {words}");
        };
        let ready: Ready = serde_json::from_str(&line).with_context(|| line.clone())?;
        // Whoever does not read what it says stops it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { address: ([127, 0, 0, 1], ready.port).into(), _child: child })
    }
}
