use crate::Desk;
use alloy_primitives::Address;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use obol_core::WireVersion;
use obol_devchain::{Devchain, Options};
use obol_tests::{Answered, Buyer, Customer, Upstream, fetch, get, paid, until};
use obol_wire::PaymentHeader;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A verifier that runs on a chain of its own, and sells what is in a desk's folder.
pub(crate) struct Stand {
    pub(crate) desk: Desk,
    pub(crate) chain: Devchain,
    pub(crate) upstream: Upstream,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Killed with the stand.
    _verifier: Child,
}

impl Stand {
    /// `write` puts what is sold into the desk's folder; it is told the payee and the upstream.
    pub(crate) async fn open(
        flags: &[&str],
        write: impl FnOnce(&Path, Address, &str) -> Result<()>,
    ) -> Result<Self> {
        let (desk, upstream) = (Desk::new()?, Upstream::hello().await?);
        let chain = Devchain::start(Options::default()).await?;
        fs::write(desk.path().join("settler.key"), chain.settler().key.to_string())?;
        write(desk.path(), chain.seller().address, upstream.base())?;
        let mut verifier = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args(["verifier", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--offers", "offers", "--ledger", "ledger.db", "--settler-key-file", "settler.key"])
            .args(["--trusted-proxy", "127.0.0.1", "--rpc", &format!("base-sepolia={}", chain.url())])
            .args(flags)
            .current_dir(desk.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(verifier.stderr.take().context("stderr")?).lines();
        let log = Arc::<Mutex<String>>::default();
        let (kept, (tell, told)) = (Arc::clone(&log), tokio::sync::oneshot::channel());
        tokio::spawn(async move {
            let mut tell = Some(tell);
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, rest)) = line.split_once("address=")
                    && let Some(tell) = tell.take()
                {
                    // Nobody waits any more when the test has failed meanwhile.
                    let _ = tell.send(rest.split(' ').next().unwrap_or_default().to_owned());
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let Ok(address) = told.await else {
            bail!("it ended without an address: {}", log.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let stand = Self { desk, chain, upstream, address: address.parse()?, log, _verifier: verifier };
        stand.until_logged("offers are loaded").await?;
        Ok(stand)
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn until_logged(&self, text: &str) -> Result<()> {
        let logged =
            until(format!("{text:?} in the log"), async || Ok(self.log().contains(text).then_some(())));
        logged.await.with_context(|| self.log())
    }

    /// Waits until an unpaid request is answered so.
    pub(crate) async fn until_asked(&self, target: &str, is: impl Fn(&Answered) -> bool) -> Result<Answered> {
        until(format!("another answer at {target}"), async || {
            let answered = fetch(self.address, get(target)).await?;
            Ok(is(&answered).then_some(answered))
        })
        .await
    }

    pub(crate) fn customer(&self) -> Customer {
        Customer::new(Buyer::of(self.chain.buyers()[0]), self.address, WireVersion::V2)
    }

    /// What a proxy hears that asks about a GET of this target.
    pub(crate) async fn ask(&self, target: &str, payment: Option<&PaymentHeader>) -> Result<Answered> {
        let mut question: Request<Full<Bytes>> = get("/verify");
        for (name, value) in [
            ("x-forwarded-uri", target),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-for", "203.0.113.9"),
        ] {
            question.headers_mut().insert(name, value.parse()?);
        }
        fetch(self.address, payment.map_or(question.clone(), |payment| paid(question, payment))).await
    }

    /// Standard output of another command in the same folder.
    pub(crate) async fn obol(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args(args)
            .current_dir(self.desk.path())
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}
