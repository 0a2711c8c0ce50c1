//! A seller's process that may be killed at any point, the chain and the upstream around it, and
//! a buyer who does not give up.

use anyhow::{Context, Result, bail, ensure};
use hyper::StatusCode;
use obol_core::{Payment, Registry};
use obol_devchain::{AuthorizationOutcome, Devchain, Mining, Options, Tools};
use obol_ledger::{Ledger, PaymentId, PaymentRecord, State};
use obol_tests::{Buyer, CounterOptions, FacilitatorServer, Manner, Meddler, Upstream, price, reply};
use obol_wire::{PaymentHeader, Sale, header};
use std::{
    collections::HashSet,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What the chain and the seller are set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) mining: Mining,
    /// Blocks until one is final.
    pub(crate) depth: u64,
    /// Seconds that a request waits for its settlement.
    pub(crate) settle_budget: u64,
    /// `release` or `charge`.
    pub(crate) on_disconnect: &'static str,
    pub(crate) settles: Settles,
}

/// Who settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settles {
    TheSeller,
    /// A facilitator, whose word the seller checks by an endpoint of its own.
    Checked,
    /// A facilitator, whose word is all that the seller has.
    Believed,
}

/// A request that waits in the upstream until it is let go.
pub(crate) type Arrival = oneshot::Sender<StatusCode>;

/// How the upstream answers: at once, or when the test says so.
#[derive(Clone, Default)]
struct Door(Arc<Mutex<Option<mpsc::UnboundedSender<Arrival>>>>);

impl Door {
    fn take(&self) -> Option<mpsc::UnboundedSender<Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn pass(self) -> StatusCode {
        let Some(arrivals) = self.take() else { return StatusCode::OK };
        let (arrival, word) = oneshot::channel();
        if arrivals.send(arrival).is_err() {
            return StatusCode::OK;
        }
        word.await.unwrap_or(StatusCode::BAD_GATEWAY)
    }
}

pub(crate) struct World {
    pub(crate) chain: Devchain,
    upstream: Upstream,
    door: Door,
    folder: TempDir,
    port: u16,
    plan: Plan,
    facilitator: Option<(FacilitatorServer, Meddler)>,
    registry: Registry,
    http: reqwest::Client,
    process: Option<Child>,
    pub(crate) deaths: usize,
    served: HashSet<alloy_primitives::B256>,
}

/// A signed payment and the header that carries it.
#[derive(Clone)]
pub(crate) struct Purchase {
    pub(crate) payment: Payment,
    header: PaymentHeader,
}

impl World {
    pub(crate) async fn new(tools: &Tools, plan: Plan) -> Result<Self> {
        let chain = Devchain::start_with(tools, Options { port: None, mining: plan.mining }).await?;
        let door = Door::default();
        let inner = door.clone();
        let upstream = Upstream::start(move |_| {
            let door = inner.clone();
            async move { reply(door.pass().await, "served") }
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let facilitator = match plan.settles {
            Settles::TheSeller => None,
            Settles::Checked | Settles::Believed => {
                let facilitator = FacilitatorServer::start(&chain, CounterOptions::default()).await?;
                let meddler = Meddler::start(facilitator.address, Manner::Honest).await?;
                Some((facilitator, meddler))
            }
        };
        let world = Self {
            upstream,
            door,
            port: free_port()?,
            plan,
            facilitator,
            registry: Registry::built_in(),
            http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?,
            process: None,
            deaths: 0,
            served: HashSet::new(),
            folder,
            chain,
        };
        world.write_files()?;
        Ok(world)
    }

    fn write_files(&self) -> Result<()> {
        let offers = self.folder.path().join("offers");
        fs::create_dir(&offers)?;
        let manifest = format!(
            "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {{name: shop}}\nspec:\n  upstream:\n    \
             url: {}\n    timeoutSeconds: 30\n  onDisconnect: {}\n  payment:\n    network: base-sepolia\n    payTo: \"{}\"\n    \
             maxTimeoutSeconds: 600\n    price: {{perRequest: \"0.01\"}}\n",
            self.upstream.base(),
            self.plan.on_disconnect,
            self.chain.seller().address.to_checksum(None)
        );
        fs::write(offers.join("shop.yaml"), manifest)?;
        let chains = format!(
            "chains:\n  - id: eip155:84532\n    name: base-sepolia\n    v1Name: base-sepolia\n    \
             blockMillis: 100\n    finality: {}\n",
            self.plan.depth
        );
        fs::write(self.path("chains.yaml"), chains)?;
        fs::write(self.path("settler.key"), self.chain.settler().key.to_string())?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The points that were reached, and the one at which a process was killed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("stops")).unwrap_or_default()
    }

    /// Whether the seller was killed between the start of a delivery and the record of its end:
    /// the buyer may have all of the response, and is owed it once more.
    pub(crate) fn died_while_delivering(&self) -> bool {
        let log = self.log();
        let Some((before, killed)) = log.split_once("killed ") else { return false };
        let started = "ledger.start-delivery.after-commit\n";
        let ended = "ledger.finish-delivery.after-commit\n";
        (before.contains(started) || killed.starts_with(started))
            && !(before.contains(ended) || killed.starts_with(ended))
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// From now on the next request that reaches the upstream waits there.
    pub(crate) fn hold_next(&self) -> mpsc::UnboundedReceiver<Arrival> {
        let (arrivals, arrived) = mpsc::unbounded_channel();
        *self.door.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(arrivals);
        arrived
    }

    /// Starts the seller, to be killed at `point`, and waits until it serves or is dead.
    pub(crate) async fn launch(&mut self, point: Option<&str>) -> Result<()> {
        let stderr = fs::OpenOptions::new().append(true).create(true).open(self.path("stderr"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_obol"))
            .arg("verifier")
            .arg("--offers")
            .arg(self.path("offers"))
            .arg("--ledger")
            .arg(self.path("ledger.db"))
            .arg("--chains")
            .arg(self.path("chains.yaml"))
            .args(self.settling())
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--admin-listen", "127.0.0.1:0"])
            .args(["--settle-budget", &self.plan.settle_budget.to_string(), "--replace-after", "1"])
            .env("OBOL_STOP_LOG", self.path("stops"))
            .env("OBOL_STOP_AT", point.unwrap_or_default())
            .env("OBOL_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()?;
        self.process = Some(child);
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let ready = self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
            if ready || self.is_dead()? && point.is_some() {
                return Ok(());
            }
            if point.is_none() && self.is_dead()? {
                bail!("the seller ended by itself: {}", fs::read_to_string(self.path("stderr"))?);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("the seller is neither ready nor dead")
    }

    /// The seller's flags that say who settles.
    fn settling(&self) -> Vec<String> {
        let rpc = ["--rpc".to_owned(), format!("base-sepolia={}", self.chain.url())];
        let Some((_, meddler)) = &self.facilitator else {
            let key = self.path("settler.key").display().to_string();
            return [rpc.to_vec(), vec!["--settler-key-file".to_owned(), key]].concat();
        };
        let asked = vec!["--facilitator".to_owned(), format!("base-sepolia={}", meddler.url())];
        match self.plan.settles {
            Settles::Believed => asked,
            Settles::TheSeller | Settles::Checked => [asked, rpc.to_vec()].concat(),
        }
    }

    pub(crate) fn meddler(&self) -> Result<&Meddler> {
        self.facilitator.as_ref().map(|(_, meddler)| meddler).context("no facilitator")
    }

    /// Starts the seller anew, with an endpoint by which it can check what it was told.
    pub(crate) async fn open_its_eyes(&mut self) -> Result<()> {
        self.kill()?;
        self.plan.settles = Settles::Checked;
        self.launch(None).await
    }

    fn is_dead(&mut self) -> Result<bool> {
        let Some(child) = &mut self.process else { return Ok(true) };
        Ok(child.try_wait()?.is_some())
    }

    /// Starts a dead seller again, this time to live.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        if self.is_dead()? {
            self.deaths += 1;
            self.launch(None).await?;
        }
        Ok(())
    }

    /// Tells the seller to stop, as an operator does.
    pub(crate) fn terminate(&self) -> Result<()> {
        let child = self.process.as_ref().context("no seller")?;
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status()?;
        ensure!(told.success(), "it cannot be told");
        Ok(())
    }

    /// Waits until the seller has ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_dead()? {
            ensure!(Instant::now() < deadline, "the seller goes on");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.process.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/shop/thing", self.port)
    }

    /// Asks what a request costs and signs a payment for it.
    pub(crate) async fn purchase(&mut self, buyer: usize) -> Result<Purchase> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Ok(asked) = self.http.get(self.url()).send().await else {
                self.revive().await?;
                continue;
            };
            ensure!(asked.status() == 402, "{} to an unpaid request", asked.status());
            let challenge = asked.headers().get(header::PAYMENT_REQUIRED).context("no challenge")?.clone();
            let sale = Sale::parse(Some(challenge.as_bytes()), b"", &self.registry)?;
            let offered = sale.offered.first().context("nothing offered")?;
            let requirement = price(self.chain.seller());
            let payment = Buyer::of(self.chain.buyers()[buyer]).pay(&requirement);
            let header = sale.pay(offered, &payment, &self.registry);
            return Ok(Purchase { payment, header });
        }
        bail!("no challenge")
    }

    /// Sends the paid request once; `None` when the connection broke.
    pub(crate) async fn send(&mut self, purchase: &Purchase) -> Result<Option<u16>> {
        let header = &purchase.header;
        let sent = self.http.get(self.url()).header(header.name, &header.value).send().await;
        let Ok(answer) = sent else { return Ok(None) };
        let status = answer.status().as_u16();
        // A response counts when all of it is here.
        match answer.bytes().await {
            Ok(body) if status == 200 => {
                ensure!(&body[..] == b"served", "another body");
                self.served.insert(purchase.payment.authorization.nonce);
                Ok(Some(status))
            }
            Ok(_) => Ok(Some(status)),
            Err(_) => Ok(None),
        }
    }

    /// Sends the paid request once, in the background.
    pub(crate) fn send_aside(&self, purchase: &Purchase) -> tokio::task::JoinHandle<()> {
        let request = self.http.get(self.url()).header(purchase.header.name, &purchase.header.value);
        tokio::spawn(async move {
            // What becomes of it is seen in the upstream and in the ledger.
            let _ = request.send().await;
        })
    }

    /// Sends the paid request until the answer is not "again, please".
    pub(crate) async fn obtain(&mut self, purchase: &Purchase) -> Result<u16> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.send(purchase).await? {
                Some(status @ (200 | 402)) => return Ok(status),
                Some(409 | 500 | 502 | 503 | 504) | None => {}
                Some(other) => bail!("answered {other}"),
            }
            self.revive().await?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("not served within {} s", PATIENCE.as_secs())
    }

    pub(crate) async fn rows(&self) -> Result<Vec<PaymentRecord>> {
        if !self.path("ledger.db").exists() {
            return Ok(Vec::new());
        }
        let ledger = Ledger::open_read_only(&self.path("ledger.db"))?;
        Ok(ledger.list(PaymentId(0), 1_000).await?)
    }

    /// Every transaction hash that was signed for a payment so far.
    pub(crate) async fn newest_attempt(&self, id: PaymentId) -> Result<Option<alloy_primitives::B256>> {
        Ok(Ledger::open_read_only(&self.path("ledger.db"))?.newest_attempt(id).await?)
    }

    /// Waits for a condition on the rows, the seller being kept alive.
    pub(crate) async fn until(&mut self, what: &str, ok: impl Fn(&[PaymentRecord]) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.revive().await?;
            if ok(&self.rows().await?) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("never {what}: {:?}", self.rows().await?)
    }

    /// Lets everything come to its end, and holds the ledger against the chain.
    pub(crate) async fn settle_down(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let ended =
            |row: &PaymentRecord| matches!(row.state(), State::Settled | State::Released | State::Failed);
        loop {
            self.revive().await?;
            let rows = self.rows().await?;
            if rows.iter().all(ended) {
                break;
            }
            ensure!(Instant::now() < deadline, "payments did not come to an end: {rows:?}");
            self.chain.mine(1).await?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let rows = self.rows().await?;
        let settled: Vec<_> = rows.iter().filter(|row| row.state() == State::Settled).collect();
        let seller = self.chain.seller().address;
        let transfers = self.chain.transfer_events(1).await?;
        let to_seller: HashSet<_> =
            transfers.iter().filter(|t| t.to == seller).map(|t| (t.transaction, t.log_index)).collect();
        let in_ledger: HashSet<_> =
            settled.iter().filter_map(|row| row.inclusion.map(|at| (at.tx, at.log_index))).collect();
        ensure!(to_seller == in_ledger, "ledger {in_ledger:?} chain {to_seller:?}");
        ensure!(in_ledger.len() == settled.len(), "two payments in one transfer");
        let used = self.chain.authorization_events(1).await?;
        let used = used.iter().filter(|event| event.outcome == AuthorizationOutcome::Used).count();
        ensure!(used == settled.len(), "{used} authorizations were used, {} are settled", settled.len());
        for row in settled {
            ensure!(
                self.served.contains(&row.key.nonce),
                "payment {} was charged and never delivered",
                row.id.0
            );
        }
        self.verify_by_command()
    }

    fn verify_by_command(&self) -> Result<()> {
        let verified = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args(["ledger", "verify", "--rpc", &format!("base-sepolia={}", self.chain.url())])
            .arg("--ledger")
            .arg(self.path("ledger.db"))
            .output()?;
        ensure!(
            verified.status.success(),
            "ledger verify: {}{}",
            String::from_utf8_lossy(&verified.stdout),
            String::from_utf8_lossy(&verified.stderr)
        );
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A process that has ended by itself is as good.
        let _ = self.kill();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
