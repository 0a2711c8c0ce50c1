//! `obol buy pay`
//!
//! A payment is signed once for a request, and kept before it leaves. Until it is known what became
//! of it, the same payment is sent again: its nonce can be taken once.

use super::{
    args::PayArgs,
    choice::choose,
    journal::{Place, Signed, default_folder},
    shop::{Answer, Shop},
    sign::sign,
};
use crate::{
    endpoint::{self, Endpoint},
    exit::Failure,
    faults::Faults,
    output::{self, Output},
    private_file,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use obol_core::Registry;
use obol_evm::{Key, NonceState, Question, Reads};
use obol_wire::{Receipt, header};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

/// What is read from the chain about an earlier payment has to be later than its end by so much.
const CLOCKS: u64 = 60;

/// Between two looks at a settlement that takes long, when the seller does not say.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

struct Buyer {
    shop: Shop,
    key: Key,
    registry: Registry,
    endpoints: Vec<Endpoint>,
    place: Place,
    args: Box<PayArgs>,
}

pub(super) async fn run(args: Box<PayArgs>) -> Result<(), Failure> {
    let registry = args.known.registry()?;
    let mut faults = Faults::default();
    let endpoints = endpoint::read(&args.rpc, &registry, &mut faults);
    let key = faults.sift("--key-file", key_file(&args.key_file));
    faults.none()?;
    let Some(key) = key else { return Ok(()) };
    let shop = Shop::new(&args.request)?;
    let folder = match &args.purchases {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    let place = Place::open(&folder, key.address(), shop.fingerprint())?;
    Buyer { shop, key, registry, endpoints, place, args }.buy().await
}

impl Buyer {
    async fn buy(&self) -> Result<(), Failure> {
        if let Some(earlier) = self.place.open_payment()? {
            if self.args.dry_run {
                return self.tell_earlier(&earlier);
            }
            match self.go_on(&earlier).await? {
                Earlier::Served(answer) => return self.served(&answer, &earlier),
                Earlier::Void => self.place.close(&earlier)?,
            }
        }
        let answer = self.shop.ask(None).await.map_err(|error| self.unreachable(&error))?;
        if answer.status != 402 {
            return self.free(&answer);
        }
        let sale = answer.sale(&self.registry)?;
        let way = choose(&sale, &self.registry, &self.args.max_amount)?;
        if self.args.dry_run {
            return self.tell_price(&way.price(), &way.offered.chain.to_string(), way.offered.pay_to);
        }
        let payment = sign(&self.key, way.offered);
        let sent = sale.pay(way.offered, &payment, &self.registry);
        let signed = Signed::new(format!("{} {}", self.shop.method, self.shop.url), &payment, &sent);
        self.place.keep(&signed)?;
        let answer = self.send(&signed).await?;
        match answer.is_success() {
            true => self.served(&answer, &signed),
            false => Err(self.unserved(&answer, &signed)),
        }
    }

    /// Sends a payment until it is known whether the seller serves it.
    async fn send(&self, signed: &Signed) -> Result<Answer, Failure> {
        let (sent, until) = (signed.header()?, Instant::now() + Duration::from_secs(self.args.wait));
        loop {
            let answer = self.shop.ask(Some(&sent)).await.map_err(|error| {
                Failure::unknown(format!(
                    "{}: the payment was sent, and no answer came ({error}); run the same command again: it sends \
                     the same payment, which can be taken once",
                    self.shop.url
                ))
            })?;
            // Served elsewhere at this moment, or waiting for its block.
            let waits = answer.status == 409 || answer.status == 503;
            let pause = answer.header("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let pause = pause.map_or(LOOK_AGAIN, Duration::from_secs).min(LOOK_AGAIN);
            if !waits || Instant::now() + pause > until {
                return Ok(answer);
            }
            eprintln!("obol: {}; asking again", answer.reason());
            tokio::time::sleep(pause).await;
        }
    }

    /// What became of a payment that an earlier run has signed.
    async fn go_on(&self, earlier: &Signed) -> Result<Earlier, Failure> {
        if self.args.again {
            eprintln!("obol: the earlier payment {} is left to itself, as --again says", earlier.nonce);
            return Ok(Earlier::Void);
        }
        eprintln!(
            "obol: an earlier run has signed payment {} for this request; going on with it",
            earlier.nonce
        );
        let answer = self.send(earlier).await?;
        if answer.is_success() {
            return Ok(Earlier::Served(answer));
        }
        match self.on_chain(earlier).await? {
            OnChain::Gone => {
                self.place.close(earlier)?;
                Err(Failure::failed(format!(
                    "the earlier payment {} was taken, and the seller does not serve it again ({}); run the command \
                     again to pay anew",
                    earlier.nonce,
                    answer.reason()
                )))
            }
            OnChain::Expired => Ok(Earlier::Void),
            OnChain::Open => Err(self.unserved(&answer, earlier)),
        }
    }

    async fn on_chain(&self, signed: &Signed) -> Result<OnChain, Failure> {
        let chain = signed.chain()?;
        let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.chain.id == chain) else {
            return Err(Failure::unknown(format!(
                "an earlier payment for this request ({}) may have been taken; give --rpc {chain}=<URL> to find out, \
                 or --again to pay anew all the same",
                signed.nonce
            )));
        };
        let question =
            Question { token: signed.asset, payer: signed.payer, payee: signed.pay_to, nonce: signed.nonce };
        let read = Reads::start(endpoint.rpc.clone()).ask(question).await;
        let read = read.map_err(|error| Failure::unavailable(format!("--rpc: {chain}: {error}")))?;
        if read.chain_id != chain.reference() {
            return Err(Failure::unavailable(format!(
                "--rpc: {chain}: the endpoint serves eip155:{}",
                read.chain_id
            )));
        }
        Ok(match read.nonce {
            NonceState::Gone => OnChain::Gone,
            NonceState::Unused if read.block_time > signed.valid_before.saturating_add(CLOCKS) => {
                OnChain::Expired
            }
            NonceState::Unused => OnChain::Open,
        })
    }

    fn unserved(&self, answer: &Answer, signed: &Signed) -> Failure {
        let left = signed.valid_before.saturating_sub(unix_now());
        let message = format!(
            "{} answered {} ({}); the payment {} is kept, and may be taken for {left} seconds more: run the same \
             command again to send it again",
            self.shop.url,
            answer.status,
            answer.reason(),
            signed.nonce
        );
        // Nothing is known to have moved, and nothing to have stayed.
        Failure::unknown(message)
    }

    fn served(&self, answer: &Answer, signed: &Signed) -> Result<(), Failure> {
        let receipt =
            answer.header(header::PAYMENT_RESPONSE).or_else(|| answer.header(header::X_PAYMENT_RESPONSE));
        let receipt = receipt.and_then(|value| Receipt::decode(value.as_bytes(), &self.registry).ok());
        let transaction = match &receipt {
            Some(Receipt::Settled { transaction, .. }) => Some(*transaction),
            Some(Receipt::Unsettled { transaction, .. }) => *transaction,
            None => None,
        };
        let asset = self.registry.asset_at(signed.chain()?, signed.asset).ok();
        let price = match asset {
            Some(asset) => format!("{} {}", signed.amount()?.to_decimal(asset.decimals), asset.symbol),
            None => format!("{} of {}", signed.amount, signed.asset),
        };
        self.place.close(signed)?;
        let paid = json!({
            "chain": signed.chain, "asset": signed.asset.to_checksum(None), "amount": signed.amount,
            "price": price, "payer": signed.payer.to_checksum(None), "pay_to": signed.pay_to.to_checksum(None),
            "nonce": signed.nonce, "transaction": transaction,
            "settled": matches!(receipt, Some(Receipt::Settled { .. })),
        });
        let where_ = transaction.map_or("no transaction is named".to_owned(), |hash| hash.to_string());
        eprintln!("obol: paid {price} to {} on {}: {where_}", signed.pay_to.to_checksum(None), signed.chain);
        self.print(answer, Some(paid))
    }

    fn free(&self, answer: &Answer) -> Result<(), Failure> {
        eprintln!("obol: {} answered {} without a payment", self.shop.url, answer.status);
        self.print(answer, None)?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(Failure::failed(format!("{} answered {}", self.shop.url, answer.status))),
        }
    }

    fn print(&self, answer: &Answer, paid: Option<Value>) -> Result<(), Failure> {
        match self.args.output {
            Output::Json => {
                let mut document = json!({"status": answer.status, "paid": paid});
                match std::str::from_utf8(&answer.body) {
                    Ok(text) => document["body"] = text.into(),
                    Err(_) => document["body_base64"] = STANDARD.encode(&answer.body).into(),
                }
                output::print(&format!("{document}\n"));
            }
            Output::Table => output::print_bytes(&answer.body),
        }
        Ok(())
    }

    fn tell_price(&self, price: &str, chain: &str, pay_to: alloy_primitives::Address) -> Result<(), Failure> {
        let pay_to = pay_to.to_checksum(None);
        output::print(&match self.args.output {
            Output::Json => {
                format!("{}\n", json!({"would_pay": {"price": price, "chain": chain, "pay_to": pay_to}}))
            }
            Output::Table => format!("It would pay {price} to {pay_to} on {chain}.\n"),
        });
        Ok(())
    }

    fn tell_earlier(&self, earlier: &Signed) -> Result<(), Failure> {
        output::print(&match self.args.output {
            Output::Json => format!("{}\n", json!({"would_send_again": earlier.nonce})),
            Output::Table => format!(
                "It would send the payment {} again, which an earlier run has signed.\n",
                earlier.nonce
            ),
        });
        Ok(())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::unavailable(format!("{}: {error}; nothing was paid", self.shop.url))
    }
}

enum Earlier {
    Served(Answer),
    /// It can never be taken any more, or the user says so.
    Void,
}

enum OnChain {
    Gone,
    Expired,
    Open,
}

fn key_file(path: &Path) -> Result<Key, String> {
    let text = private_file::read(path, "the payer's key")
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    text.parse().map_err(|error: obol_evm::KeyError| {
        format!("the key in {} is {error}; it holds a private key as 64 hex digits", path.display())
    })
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
