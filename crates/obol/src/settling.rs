//! What is needed to verify and settle payments: a ledger, chains, the account that pays gas, and
//! what that may cost.

mod args;
mod remotes;
mod settler;

pub(crate) use args::{FacilitatorsArgs, REQUIRED, SettlingArgs};
pub(crate) use settler::SettlerAccount;

use crate::{
    chains_file,
    endpoint::{self, Endpoint},
    faults::{Faults, number, seconds, words},
};
use alloy_primitives::Address;
use obol_core::{ChainId, Registry};
use obol_facilitator::{ChainSetup, GasCeilings, RemoteSetup, Timing};
use remotes::Remote;
use serde_json::{Map, Value, json};
use std::{
    collections::HashSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) ledger: PathBuf,
    pub(crate) chains: Option<PathBuf>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// None where facilitators of others settle on every chain.
    pub(crate) settler: Option<SettlerAccount>,
    pub(crate) remotes: Vec<Remote>,
    pub(crate) payees: Vec<Address>,
    pub(crate) factories: Vec<Address>,
    pub(crate) timing: Timing,
    pub(crate) gas: GasCeilings,
}

impl SettlingArgs {
    /// None when there is a fault without which there would be a setting; a list with a fault is
    /// what is left of it.
    pub(crate) fn sift(self, others: &FacilitatorsArgs, faults: &mut Faults) -> Option<Settling> {
        let ledger = faults.sift("--ledger", ledger_file(self.ledger.as_deref()));
        let registry = chains_file::read(self.chains.as_deref(), faults);
        let endpoints = endpoint::read(&self.rpc, &registry, faults);
        let any_remote = words(&others.facilitator).next().is_some();
        if words(&self.rpc).next().is_none() && !any_remote {
            faults.add("--rpc", format!("is missing: write {}", endpoint::EXAMPLE));
        }
        let timing = timing(&self, faults);
        let answer_budget = timing.unwrap_or_default().answer_budget();
        let registry = Arc::new(registry);
        let remotes = remotes::read(others, &registry, answer_budget, faults);
        let settled_by_us =
            |endpoint: &Endpoint| remotes.iter().all(|remote| remote.chain.id != endpoint.chain.id);
        let needs_settler = !any_remote || endpoints.iter().any(settled_by_us);
        let settler = match needs_settler {
            true => settler::account(&self, faults).map(Some),
            false => Some(None),
        };
        let payees = faults.sift_each("--allow-payee", &self.allow_payee, account);
        let factories = faults.sift_each("--allow-factory", &self.allow_factory, account);
        let gas = gas(&self, faults);
        Some(Settling {
            ledger: ledger?,
            registry,
            endpoints,
            settler: settler?,
            remotes,
            chains: self.chains,
            payees,
            factories,
            timing: timing?,
            gas: gas?,
        })
    }
}

impl Settling {
    /// The chains on which transactions of our own settle.
    pub(crate) fn setups(&self) -> Vec<ChainSetup> {
        let ours = self.endpoints.iter().filter(|endpoint| self.remote(endpoint.chain.id).is_none());
        let setup = |endpoint: &Endpoint| {
            Some(ChainSetup {
                chain: Arc::clone(&endpoint.chain),
                rpc: endpoint.rpc.clone(),
                settler: self.settler.as_ref()?.key.clone(),
                gas: self.gas,
                factories: self.factories.clone(),
            })
        };
        ours.filter_map(setup).collect()
    }

    /// Those on which facilitators of others do.
    pub(crate) fn remote_setups(&self) -> Vec<RemoteSetup> {
        let setup = |remote: &Remote| {
            let endpoint = self.endpoints.iter().find(|endpoint| endpoint.chain.id == remote.chain.id);
            RemoteSetup {
                chain: Arc::clone(&remote.chain),
                facilitators: remote.clients.clone(),
                rpc: endpoint.map(|endpoint| endpoint.rpc.clone()),
                gas: self.gas,
                factories: self.factories.clone(),
            }
        };
        self.remotes.iter().map(setup).collect()
    }

    fn remote(&self, chain: ChainId) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.chain.id == chain)
    }

    /// The account that sends settlements, for the log.
    pub(crate) fn shown_settler(&self) -> String {
        match &self.settler {
            Some(settler) => settler.key.address().to_checksum(None),
            None => "none: facilitators settle".to_owned(),
        }
    }

    /// The accounts that may be paid; any if none is named.
    pub(crate) fn only_payees(&self) -> Option<HashSet<Address>> {
        (!self.payees.is_empty()).then(|| self.payees.iter().copied().collect())
    }

    /// As JSON, secrets hidden.
    pub(crate) fn shown(&self) -> Map<String, Value> {
        let rpc: Map<_, _> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                (endpoint.chain.id.to_string(), json!(format!("{}/[hidden]", endpoint.rpc.shown())))
            })
            .collect();
        let shown = |accounts: &[Address]| -> Vec<_> {
            accounts.iter().map(|account| account.to_checksum(None)).collect()
        };
        let settings = [
            ("ledger", json!(self.ledger)),
            ("rpc", Value::Object(rpc)),
            ("settler_key_file", json!(self.settler.as_ref().map(|settler| &settler.key_file))),
            ("settler_password_file", json!(self.settler.as_ref().and_then(|s| s.password_file.as_ref()))),
            ("settler", json!(self.settler.as_ref().map(|s| s.key.address().to_checksum(None)))),
            ("facilitator", remotes::shown(&self.remotes)),
            ("chains", json!(self.chains)),
            ("allow_payee", json!(shown(&self.payees))),
            ("allow_factory", json!(shown(&self.factories))),
            ("settle_budget", json!(self.timing.settle_budget.as_secs())),
            ("clock_skew", json!(self.timing.clock_skew.as_secs())),
            ("replace_after", json!(self.timing.stuck.as_secs())),
            ("max_gas_price", json!(self.gas.max_fee.to_string())),
            ("max_gas", json!(self.gas.per_payment)),
            ("max_contract_gas", json!(self.gas.per_contract_payment)),
            ("max_deploy_gas", json!(self.gas.per_deployment)),
            ("max_l1_fee", json!(self.gas.l1_fee_per_payment.to_string())),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn timing(args: &SettlingArgs, faults: &mut Faults) -> Option<Timing> {
    let settle_budget = seconds("--settle-budget", &args.settle_budget, 1..=600, faults);
    let clock_skew = seconds("--clock-skew", &args.clock_skew, 0..=300, faults);
    let stuck = seconds("--replace-after", &args.replace_after, 1..=3_600, faults);
    Some(Timing {
        settle_budget: settle_budget?,
        clock_skew: clock_skew?,
        stuck: stuck?,
        ..Timing::default()
    })
}

fn gas(args: &SettlingArgs, faults: &mut Faults) -> Option<GasCeilings> {
    let max_fee = faults.sift("--max-gas-price", wei(&args.max_gas_price));
    let per_payment = faults.sift("--max-gas", number(&args.max_gas, 50_000..=1_000_000));
    let per_contract_payment =
        faults.sift("--max-contract-gas", number(&args.max_contract_gas, 50_000..=16_000_000));
    let per_deployment = faults.sift("--max-deploy-gas", number(&args.max_deploy_gas, 50_000..=16_000_000));
    let l1_fee_per_payment = faults.sift("--max-l1-fee", wei(&args.max_l1_fee));
    Some(GasCeilings {
        max_fee: max_fee?,
        per_payment: per_payment?,
        per_contract_payment: per_contract_payment?,
        per_deployment: per_deployment?,
        l1_fee_per_payment: l1_fee_per_payment?,
    })
}

fn wei(text: &str) -> Result<u128, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number of wei, such as 100000000000"))
}

fn account(text: &str) -> Result<Address, String> {
    Address::parse_checksummed(text, None).map_err(|_| {
        format!("{text:?} is not an address with a correct EIP-55 checksum; copy it as a wallet shows it")
    })
}

/// Whether there is or can be such a file. Whether it is a ledger is seen when it is opened, which
/// makes one where none is.
fn ledger_file(path: Option<&Path>) -> Result<PathBuf, String> {
    let path = path.ok_or("is missing: name the ledger's file; it is made when it is not there")?;
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(format!("{shown} is a folder; name a file, such as {}", path.join("obol.db").display()));
    }
    if !folder.is_dir() {
        return Err(format!("{shown} cannot be made: {} is not a folder; make it first", folder.display()));
    }
    match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{shown} cannot be read and written: {error}; give it to obol's user"))
        }
        _ => Ok(path.to_owned()),
    }
}
