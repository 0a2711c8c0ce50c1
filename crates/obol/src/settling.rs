//! What is needed to verify and settle payments: a ledger, chains, the account that pays gas, and
//! what that may cost.

mod args;
mod settler;

pub(crate) use args::{REQUIRED, SettlingArgs};

use crate::{
    chains_file,
    endpoint::{self, Endpoint},
    faults::{Faults, number, seconds, words},
};
use alloy_primitives::Address;
use obol_core::Registry;
use obol_evm::Key;
use obol_facilitator::{ChainSetup, GasCeilings, Timing};
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
    pub(crate) settler_key_file: PathBuf,
    pub(crate) settler_password_file: Option<PathBuf>,
    pub(crate) settler: Key,
    pub(crate) payees: Vec<Address>,
    pub(crate) factories: Vec<Address>,
    pub(crate) timing: Timing,
    pub(crate) gas: GasCeilings,
}

impl SettlingArgs {
    /// None when there is a fault without which there would be a setting; a list with a fault is
    /// what is left of it.
    pub(crate) fn sift(self, faults: &mut Faults) -> Option<Settling> {
        let ledger = faults.sift("--ledger", ledger_file(self.ledger.as_deref()));
        let registry = chains_file::read(self.chains.as_deref(), faults);
        let endpoints = endpoint::read(&self.rpc, &registry, faults);
        if words(&self.rpc).next().is_none() {
            faults.add("--rpc", format!("is missing: write {}", endpoint::EXAMPLE));
        }
        let settler = settler::key(&self, faults);
        let payees = faults.sift_each("--allow-payee", &self.allow_payee, account);
        let factories = faults.sift_each("--allow-factory", &self.allow_factory, account);
        let (timing, gas) = (timing(&self, faults), gas(&self, faults));
        Some(Settling {
            ledger: ledger?,
            registry: Arc::new(registry),
            endpoints,
            settler: settler?,
            settler_key_file: self.settler_key_file?,
            settler_password_file: self.settler_password_file,
            chains: self.chains,
            payees,
            factories,
            timing: timing?,
            gas: gas?,
        })
    }
}

impl Settling {
    pub(crate) fn setups(&self) -> Vec<ChainSetup> {
        let setup = |endpoint: &Endpoint| ChainSetup {
            chain: Arc::clone(&endpoint.chain),
            rpc: endpoint.rpc.clone(),
            settler: self.settler.clone(),
            gas: self.gas,
            factories: self.factories.clone(),
        };
        self.endpoints.iter().map(setup).collect()
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
            ("settler_key_file", json!(self.settler_key_file)),
            ("settler_password_file", json!(self.settler_password_file)),
            ("settler", json!(self.settler.address().to_checksum(None))),
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
