//! The facilitator: one desk for each chain.

use crate::{
    Comparing, GasCeilings, SettlerState, Terms, Timing, Verified,
    glance::{Glance, glance},
    keeper::keep,
    reconciler::Reconciler,
    remote::{self, Panel},
    settler::{self, Setup},
    sight::Sight,
    verify::{Verifier, verify_offline},
};
use alloy_primitives::{Address, Bytes, U256};
use obol_core::{Chain, ChainId, Payment, Reason, Refusal};
use obol_evm::{Key, Reads, Rpc};
use obol_facilitator_client::Client;
use obol_ledger::{Attendant, Ledger, PaymentRecord, Proof, Settler};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::AtomicU64},
};
use tokio::sync::{Notify, watch};

/// What a chain needs on which transactions of our own settle.
#[derive(Clone, Debug)]
pub struct ChainSetup {
    pub chain: Arc<Chain>,
    pub rpc: Rpc,
    pub settler: Key,
    pub gas: GasCeilings,
    /// Contracts that may be called, at the settler's cost, to deploy a payer's wallet (ERC-6492).
    pub factories: Vec<Address>,
}

/// What a chain needs on which facilitators of others settle.
#[derive(Clone, Debug)]
pub struct RemoteSetup {
    pub chain: Arc<Chain>,
    /// The preferred first.
    pub facilitators: Vec<Client>,
    /// By which payments are verified and claims are checked. Without it, what a facilitator says is
    /// all that is known.
    pub rpc: Option<Rpc>,
    pub gas: GasCeilings,
    pub factories: Vec<Address>,
}

/// How one chain is, for people.
#[derive(Clone, Debug)]
pub struct Report {
    pub chain: ChainId,
    pub state: SettlerState,
    /// Whether there is an endpoint by which what is said of this chain can be checked.
    pub sees: bool,
    /// The account by which transactions of our own settle.
    pub settler: Option<Address>,
    /// What it has, in wei; none while that is not known.
    pub balance: Option<U256>,
    /// How many payments that lasts for at the fees of the moment, without what L1 costs.
    pub payments_left: Option<u64>,
    /// Of the endpoint's newest block, in seconds since the Unix epoch; none while that is not known.
    pub head: Option<i64>,
    /// Facilitators of others, by origin, and whether each answers as it should.
    pub facilitators: Vec<(String, bool)>,
    /// How holding the ledger against the chain goes, and by which endpoint, whose origin it is; none where
    /// that is not done.
    pub comparing: Option<(String, Comparing)>,
}

struct Desk {
    chain: Arc<Chain>,
    /// None where only a facilitator sees the chain.
    view: Option<View>,
    way: Way,
    wake: Arc<Notify>,
    state: watch::Receiver<SettlerState>,
    comparing: Option<watch::Receiver<Comparing>>,
    /// None where there is no endpoint.
    glance: Option<watch::Receiver<Glance>>,
}

/// What payments are verified by.
struct View {
    sight: Sight,
    reads: Reads,
    highest: AtomicU64,
    gas: GasCeilings,
    factories: Vec<Address>,
}

/// Who settles.
enum Way {
    /// Transactions of this account.
    Settler(Address),
    /// Facilitators of others.
    Panel(Arc<Panel>),
}

/// Verifies payments and has settled what the ledger says is due, on several chains.
pub struct Facilitator {
    desks: HashMap<ChainId, Desk>,
    timing: Timing,
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Facilitator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facilitator").field("chains", &self.desks.keys()).finish_non_exhaustive()
    }
}

impl View {
    fn new(sight: Sight, gas: GasCeilings, factories: Vec<Address>) -> Self {
        Self { reads: Reads::start(sight.rpc.clone()), sight, highest: AtomicU64::new(0), gas, factories }
    }
}

impl Facilitator {
    /// Starts a settler for each chain, and for each of `remotes` who asks its facilitators. They run
    /// until [`Self::stop`].
    pub fn start(
        ledger: &Ledger,
        chains: Vec<ChainSetup>,
        remotes: Vec<RemoteSetup>,
        timing: Timing,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(keep(ledger.clone(), timing, stopped.clone()));
        let settled = chains.into_iter().map(|setup| settled_by_us(ledger, setup, timing, &stopped));
        let asked = remotes.into_iter().map(|setup| settled_by_others(ledger, setup, timing, &stopped));
        let desks = settled.chain(asked).map(|desk| (desk.chain.id, desk)).collect();
        Self { desks, timing, stop }
    }

    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Whether the payment is good now. Changes nothing, and promises nothing for later: only a
    /// reservation in the ledger makes it the caller's.
    pub async fn verify(&self, payment: &Payment, terms: Terms<'_>) -> Result<Verified, Refusal> {
        let desk = self.desk(terms.requirement.asset.chain)?;
        if let Some((reason, detail)) = desk.gate().blocks() {
            return Err(Refusal::new(reason, detail));
        }
        let mut verified = match &desk.view {
            Some(view) => {
                let verifier = Verifier {
                    chain: &desk.chain,
                    rpc: &view.sight.rpc,
                    reads: &view.reads,
                    highest: &view.highest,
                    timing: &self.timing,
                    gas: &view.gas,
                    settler: desk.settler().unwrap_or(Address::ZERO),
                    factories: &view.factories,
                };
                verifier.verify(payment, terms).await?
            }
            None => verify_offline(payment, terms, &self.timing)?,
        };
        if let Way::Panel(panel) = &desk.way {
            let question = Bytes::from(obol_wire::question(payment, terms.requirement).into_bytes());
            // Where nobody can look, only the facilitator knows whether there is any money: its word
            // comes before a row.
            if desk.view.is_none() {
                panel.check(&question, payment.authorization.from, verified.proof).await?;
            }
            verified.question = Some(question);
        }
        Ok(verified)
    }

    /// Whether the facilitator, who is to settle it, finds a payment good, too, that [`Self::verify`] did
    /// and that is reserved since: whoever has seen a payment may use it, so that it has to be its
    /// client's before it is shown.
    pub async fn confirm(&self, payment: &Payment, question: Option<&Bytes>) -> Result<(), Refusal> {
        let desk = self.desk(payment.chain)?;
        match (&desk.way, question, &desk.view) {
            (Way::Panel(panel), Some(question), Some(_)) => {
                panel.check(question, payment.authorization.from, Proof::Signature).await
            }
            _ => Ok(()),
        }
    }

    /// Whether there is an endpoint by which what is said of this chain can be checked.
    pub fn sees(&self, chain: ChainId) -> bool {
        self.desks.get(&chain).is_some_and(|desk| desk.view.is_some())
    }

    /// Holds a payment that a facilitator says is settled against the chain, where there is an endpoint:
    /// afterwards the ledger has it as paid, failed or doubted, or the endpoint does not tell.
    pub async fn check(&self, payment: &PaymentRecord) {
        let view = self.desks.get(&payment.key.chain).and_then(|desk| desk.view.as_ref());
        if let Some(view) = view
            && let Err(error) = view.sight.check(payment).await
        {
            tracing::debug!(chain = %payment.key.chain, payment = payment.id.0, %error,
                "the chain does not tell what became of a payment");
        }
    }

    /// Something is due on this chain: look now rather than at the next tick.
    pub fn wake(&self, chain: ChainId) {
        if let Some(desk) = self.desks.get(&chain) {
            desk.wake.notify_one();
        }
    }

    /// Each chain on which transactions of our own settle, and the account that sends them.
    pub fn settlers(&self) -> impl Iterator<Item = (ChainId, Address)> {
        self.desks.iter().filter_map(|(id, desk)| Some((*id, desk.settler()?)))
    }

    /// Who settles on each chain, as the ledger knows them.
    pub fn attendants(&self) -> impl Iterator<Item = Attendant> {
        self.desks.iter().map(|(chain, desk)| match &desk.way {
            Way::Settler(account) => Attendant::Settler(Settler { chain: *chain, account: *account }),
            Way::Panel(panel) => {
                let urls = panel.clients().map(|client| client.url().to_string());
                Attendant::Facilitators(*chain, urls.collect())
            }
        })
    }

    /// Why a payment that was owed on this chain was given back, in one word: who refused it.
    pub fn gave_back(&self, chain: ChainId) -> Reason {
        match self.desks.get(&chain).map(|desk| &desk.way) {
            Some(Way::Panel(_)) => Reason::FacilitatorRefused,
            Some(Way::Settler(_)) | None => Reason::SimulationFailed,
        }
    }

    /// What each chain's settler can do at the moment.
    pub fn states(&self) -> impl Iterator<Item = (ChainId, SettlerState)> {
        self.desks.iter().map(|(id, desk)| (*id, desk.state()))
    }

    /// The same, and more for people.
    pub fn reports(&self) -> impl Iterator<Item = Report> {
        self.desks.iter().map(|(chain, desk)| Report {
            chain: *chain,
            state: desk.state(),
            sees: desk.view.is_some(),
            settler: desk.settler(),
            balance: desk.glance.as_ref().and_then(|glance| glance.borrow().gas_money),
            payments_left: desk.glance.as_ref().and_then(|glance| glance.borrow().payments_left),
            head: desk.glance.as_ref().and_then(|glance| glance.borrow().head),
            facilitators: match &desk.way {
                Way::Settler(_) => Vec::new(),
                Way::Panel(panel) => panel.reports().collect(),
            },
            comparing: desk.comparing(),
        })
    }

    /// Lets each settler finish what it does, and gives the leases back.
    pub async fn stop(&self) {
        // Without receivers every settler has ended by itself.
        let _ = self.stop.send(true);
        for desk in self.desks.values() {
            desk.wake.notify_one();
            // A settler's last act is to let go of its state.
            let mut state = desk.state.clone();
            while state.changed().await.is_ok() {}
        }
    }

    fn desk(&self, chain: ChainId) -> Result<&Desk, Refusal> {
        self.desks.get(&chain).ok_or_else(|| {
            Refusal::new(Reason::ChainUnavailable, format!("no endpoint is configured for {chain}"))
        })
    }
}

impl Desk {
    fn settler(&self) -> Option<Address> {
        match self.way {
            Way::Settler(account) => Some(account),
            Way::Panel(_) => None,
        }
    }

    fn state(&self) -> SettlerState {
        if self.state.has_changed().is_err() {
            return SettlerState::Ended;
        }
        let state = *self.state.borrow();
        match &self.way {
            Way::Panel(panel) if state.blocks().is_none() && !panel.is_well() => {
                SettlerState::FacilitatorDown
            }
            Way::Panel(_) | Way::Settler(_) => state,
        }
    }

    fn comparing(&self) -> Option<(String, Comparing)> {
        let endpoint = self.view.as_ref()?.sight.rpc.shown().to_owned();
        Some((endpoint, *self.comparing.as_ref()?.borrow()))
    }

    /// The same for a new payment: it may be the one that finds out that a facilitator answers again.
    fn gate(&self) -> SettlerState {
        match (self.state(), &self.way) {
            (SettlerState::FacilitatorDown, Way::Panel(panel)) if panel.is_open() => SettlerState::Leading,
            (state, _) => state,
        }
    }
}

fn settled_by_us(
    ledger: &Ledger,
    setup: ChainSetup,
    timing: Timing,
    stopped: &watch::Receiver<bool>,
) -> Desk {
    let wake = Arc::new(Notify::new());
    let account = setup.settler.address();
    let state = settler::start(Setup {
        ledger: ledger.clone(),
        chain: Arc::clone(&setup.chain),
        rpc: setup.rpc.clone(),
        key: setup.settler,
        gas: setup.gas,
        timing,
        wake: Arc::clone(&wake),
        stopped: stopped.clone(),
    });
    let sight = Sight { ledger: ledger.clone(), chain: Arc::clone(&setup.chain), rpc: setup.rpc };
    let glance = Some(glance(sight.rpc.clone(), Some((account, setup.gas)), stopped.clone()));
    let comparing = reconcile_now_and_then(&sight, timing, stopped);
    let view = View::new(sight, setup.gas, setup.factories);
    Desk { chain: setup.chain, view: Some(view), way: Way::Settler(account), wake, state, comparing, glance }
}

fn settled_by_others(
    ledger: &Ledger,
    setup: RemoteSetup,
    timing: Timing,
    stopped: &watch::Receiver<bool>,
) -> Desk {
    let wake = Arc::new(Notify::new());
    let panel = Arc::new(Panel::new(setup.facilitators));
    let state = remote::start(remote::Setup {
        ledger: ledger.clone(),
        chain: Arc::clone(&setup.chain),
        panel: Arc::clone(&panel),
        rpc: setup.rpc.clone(),
        timing,
        wake: Arc::clone(&wake),
        stopped: stopped.clone(),
    });
    let sight = |rpc| Sight { ledger: ledger.clone(), chain: Arc::clone(&setup.chain), rpc };
    let sight = setup.rpc.map(sight);
    let glance = sight.as_ref().map(|sight| glance(sight.rpc.clone(), None, stopped.clone()));
    let comparing = sight.as_ref().and_then(|sight| reconcile_now_and_then(sight, timing, stopped));
    let view = sight.map(|sight| View::new(sight, setup.gas, setup.factories));
    Desk { chain: setup.chain, view, way: Way::Panel(panel), wake, state, comparing, glance }
}

fn reconcile_now_and_then(
    sight: &Sight,
    timing: Timing,
    stopped: &watch::Receiver<bool>,
) -> Option<watch::Receiver<Comparing>> {
    let reconciler = Reconciler {
        ledger: sight.ledger.clone(),
        rpc: sight.rpc.clone(),
        chain: sight.chain.id,
        every: timing.reconcile?,
    };
    Some(reconciler.start(stopped.clone()))
}
