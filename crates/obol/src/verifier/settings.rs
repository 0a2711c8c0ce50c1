//! What was typed, as it is meant. Every fault is found before the first is told.

use super::{args::VerifierArgs, settler};
use crate::{
    chains_file,
    endpoint::{self, Endpoint},
    exit::Failure,
    faults::{Faults, number, words},
    logging::Logging,
};
use alloy_primitives::Address;
use obol_core::Registry;
use obol_evm::Key;
use obol_facilitator::{GasCeilings, Timing};
use obol_verifier::{ForwardAuth, Limits, Network};
use serde_json::json;
use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) offers: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) ledger: PathBuf,
    pub(super) chains: Option<PathBuf>,
    pub(super) registry: Arc<Registry>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) settler_key_file: PathBuf,
    pub(super) settler_password_file: Option<PathBuf>,
    pub(super) settler: Key,
    pub(super) trusted: Vec<Network>,
    pub(super) forward_auth: ForwardAuth,
    pub(super) payees: Vec<Address>,
    pub(super) factories: Vec<Address>,
    pub(super) timing: Timing,
    pub(super) gas: GasCeilings,
    pub(super) max_requests: usize,
    pub(super) limits: Limits,
    pub(super) logging: Logging,
}

impl Settings {
    /// `faults` are those that were found before.
    pub(super) fn read(args: VerifierArgs, logging: Logging, mut faults: Faults) -> Result<Self, Failure> {
        match sift(args, logging, &mut faults) {
            Some(settings) => faults.none().map(|()| settings),
            None => Err(faults.into()),
        }
    }

    /// As JSON, secrets hidden.
    pub(super) fn shown(&self) -> serde_json::Value {
        let rpc: serde_json::Map<_, _> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                (endpoint.chain.id.to_string(), json!(format!("{}/[hidden]", endpoint.rpc.shown())))
            })
            .collect();
        json!({
            "offers": self.offers,
            "listen": self.listen,
            "admin_listen": self.admin_listen,
            "ledger": self.ledger,
            "rpc": rpc,
            "settler_key_file": self.settler_key_file,
            "settler_password_file": self.settler_password_file,
            "settler": self.settler.address().to_checksum(None),
            "chains": self.chains,
            "trusted_proxy": self.trusted.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "verify_only": self.forward_auth.verify_only,
            "forward_credentials": self.forward_auth.credentials,
            "allow_payee": shown(&self.payees),
            "allow_factory": shown(&self.factories),
            "settle_budget": self.timing.settle_budget.as_secs(),
            "clock_skew": self.timing.clock_skew.as_secs(),
            "replace_after": self.timing.stuck.as_secs(),
            "max_gas_price": self.gas.max_fee.to_string(),
            "max_gas": self.gas.per_payment,
            "max_contract_gas": self.gas.per_contract_payment,
            "max_deploy_gas": self.gas.per_deployment,
            "max_l1_fee": self.gas.l1_fee_per_payment.to_string(),
            "max_requests": self.max_requests,
            "max_connections": self.limits.connections,
            "stop_grace": self.limits.grace.as_secs(),
            "log": self.logging.filter(),
            "log_format": self.logging.format(),
        })
    }
}

fn shown(accounts: &[Address]) -> Vec<String> {
    accounts.iter().map(|account| account.to_checksum(None)).collect()
}

/// None when there is a fault without which there would be a setting; a list with a fault is
/// what is left of it.
fn sift(args: VerifierArgs, logging: Logging, faults: &mut Faults) -> Option<Settings> {
    let offers = faults.sift("--offers", folder(args.offers.as_deref()));
    let listen = faults.sift("--listen", address(&args.listen, 8080));
    let admin_listen = faults.sift("--admin-listen", address(&args.admin_listen, 8081));
    if admin_listen.is_some_and(|admin| admin.port() != 0 && listen == Some(admin)) {
        faults.add("--admin-listen", "is the address of --listen; give it one of its own");
    }
    let ledger = faults.sift("--ledger", ledger_file(args.ledger.as_deref()));
    let registry = chains_file::read(args.chains.as_deref(), faults);
    let endpoints = endpoint::read(&args.rpc, &registry, faults);
    if words(&args.rpc).next().is_none() {
        faults.add("--rpc", format!("is missing: write {}", endpoint::EXAMPLE));
    }
    let settler = settler::key(&args, faults);
    let trusted = faults.sift_each("--trusted-proxy", &args.trusted_proxy, str::parse);
    let payees = faults.sift_each("--allow-payee", &args.allow_payee, account);
    let factories = faults.sift_each("--allow-factory", &args.allow_factory, account);
    let timing = timing(&args, faults);
    let gas = gas(&args, faults);
    let max_requests = faults.sift("--max-requests", number(&args.max_requests, 1..=100_000));
    let limits = limits(&args, faults);
    Some(Settings {
        offers: offers?,
        listen: listen?,
        admin_listen: admin_listen?,
        ledger: ledger?,
        chains: args.chains,
        registry: Arc::new(registry),
        endpoints,
        settler_password_file: args.settler_password_file,
        settler: settler?,
        settler_key_file: args.settler_key_file?,
        trusted,
        forward_auth: ForwardAuth { verify_only: args.verify_only, credentials: args.forward_credentials },
        payees,
        factories,
        timing: timing?,
        gas: gas?,
        max_requests: max_requests?,
        limits: limits?,
        logging,
    })
}

fn timing(args: &VerifierArgs, faults: &mut Faults) -> Option<Timing> {
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

fn gas(args: &VerifierArgs, faults: &mut Faults) -> Option<GasCeilings> {
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

fn limits(args: &VerifierArgs, faults: &mut Faults) -> Option<Limits> {
    let connections = faults.sift("--max-connections", number(&args.max_connections, 1..=1_000_000));
    let grace = seconds("--stop-grace", &args.stop_grace, 0..=3_600, faults);
    Some(Limits { connections: connections?, grace: grace?, ..Limits::default() })
}

fn seconds(flag: &str, text: &str, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<Duration> {
    faults.sift(flag, number(text, range)).map(Duration::from_secs)
}

fn wei(text: &str) -> Result<u128, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number of wei, such as 100000000000"))
}

fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an IP address with a port, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for every \
             interface"
        )
    })
}

fn account(text: &str) -> Result<Address, String> {
    Address::parse_checksummed(text, None).map_err(|_| {
        format!("{text:?} is not an address with a correct EIP-55 checksum; copy it as a wallet shows it")
    })
}

fn folder(path: Option<&Path>) -> Result<PathBuf, String> {
    let path = path.ok_or("is missing: name the folder with the ServiceOffer files")?;
    let listed = if path.is_dir() { fs::read_dir(path) } else { Err(io::ErrorKind::NotADirectory.into()) };
    match listed {
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(format!(
            "{} is not a folder; make it, or name the one with the ServiceOffer files",
            path.display()
        )),
        Err(error) => Err(format!("the folder {} cannot be listed: {error}", path.display())),
    }
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
            Err(format!("{shown} cannot be read and written: {error}; give it to the verifier's user"))
        }
        _ => Ok(path.to_owned()),
    }
}
