//! The facilitator: one desk for each chain.

use crate::{
    GasCeilings, SettlerState, Terms, Timing, Verified,
    keeper::keep,
    settler::{self, Setup},
    verify::Verifier,
};
use alloy_primitives::Address;
use obol_core::{Chain, ChainId, Payment, Reason, Refusal};
use obol_evm::{Key, Reads, Rpc};
use obol_ledger::Ledger;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::AtomicU64},
};
use tokio::sync::{Notify, watch};

/// What a chain needs.
#[derive(Clone, Debug)]
pub struct ChainSetup {
    pub chain: Arc<Chain>,
    pub rpc: Rpc,
    pub settler: Key,
    pub gas: GasCeilings,
    /// Contracts that may be called, at the settler's cost, to deploy a payer's wallet (ERC-6492).
    pub factories: Vec<Address>,
}

struct Desk {
    chain: Arc<Chain>,
    rpc: Rpc,
    reads: Reads,
    highest: AtomicU64,
    gas: GasCeilings,
    settler: Address,
    factories: Vec<Address>,
    wake: Arc<Notify>,
    state: watch::Receiver<SettlerState>,
}

/// Verifies payments and settles what the ledger says is due, on several chains.
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

impl Facilitator {
    /// Starts a settler for each chain. They run until [`Self::stop`].
    pub fn start(ledger: &Ledger, chains: Vec<ChainSetup>, timing: Timing) -> Self {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(keep(ledger.clone(), timing, stopped.clone()));
        let desks = chains
            .into_iter()
            .map(|setup| {
                let wake = Arc::new(Notify::new());
                let settler = setup.settler.address();
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
                let desk = Desk {
                    reads: Reads::start(setup.rpc.clone()),
                    chain: setup.chain,
                    rpc: setup.rpc,
                    highest: AtomicU64::new(0),
                    gas: setup.gas,
                    settler,
                    factories: setup.factories,
                    wake,
                    state,
                };
                (desk.chain.id, desk)
            })
            .collect();
        Self { desks, timing, stop }
    }

    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Whether the payment is good now. Changes nothing, and promises nothing for later: only a
    /// reservation in the ledger makes it the caller's.
    pub async fn verify(&self, payment: &Payment, terms: Terms<'_>) -> Result<Verified, Refusal> {
        let desk = self.desk(terms.requirement.asset.chain)?;
        if desk.state.has_changed().is_err() {
            return Err(Refusal::new(Reason::SettlerUnavailable, "the settler has ended"));
        }
        let state = *desk.state.borrow();
        if let Some((reason, detail)) = state.blocks() {
            return Err(Refusal::new(reason, detail));
        }
        let verifier = Verifier {
            chain: &desk.chain,
            rpc: &desk.rpc,
            reads: &desk.reads,
            highest: &desk.highest,
            timing: &self.timing,
            gas: &desk.gas,
            settler: desk.settler,
            factories: &desk.factories,
        };
        verifier.verify(payment, terms).await
    }

    /// Something is due on this chain: look now rather than at the next tick.
    pub fn wake(&self, chain: ChainId) {
        if let Some(desk) = self.desks.get(&chain) {
            desk.wake.notify_one();
        }
    }

    /// Each chain, and the account that sends its settlements.
    pub fn settlers(&self) -> impl Iterator<Item = (ChainId, Address)> {
        self.desks.iter().map(|(id, desk)| (*id, desk.settler))
    }

    /// What each chain's settler can do at the moment.
    pub fn states(&self) -> impl Iterator<Item = (ChainId, SettlerState)> {
        self.desks.iter().map(|(id, desk)| match desk.state.has_changed() {
            Ok(_) => (*id, *desk.state.borrow()),
            Err(_) => (*id, SettlerState::Ended),
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
