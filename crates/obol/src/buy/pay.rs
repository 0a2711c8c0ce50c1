//! `obol buy pay`
//!
//! A payment is signed once for a request, and kept before it leaves. Until it is known what became
//! of it, the same payment is sent again: its nonce can be taken once.

use super::{
    args::{PayArgs, PayerArgs},
    choice::{Way, choose, limit},
    journal::{Bought, Ended, Kept, Place, default_folder},
    shop::{Answer, Shop},
    sign::sign,
    view::{Answered, Evidence, Paid, PurchaseView, Step, WouldGoOn, WouldPay},
};
use crate::{
    endpoint::{self, Endpoint},
    exit::Failure,
    faults::Faults,
    output::{self, Output},
    secret_file, wallet,
};
use obol_core::Registry;
use obol_evm::{Key, KeyError, NonceState, Question, Reads};
use obol_wire::{Receipt, header};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What is read from the chain about an earlier payment has to be later than its end by so much.
const CLOCKS: u64 = 60;

/// Between two looks at a settlement that takes long: what a seller asks for, within these.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

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
    faults.none()?;
    let shop = Shop::new(&args.request)?;
    let key = payer(&args.payer)?;
    let folder = match &args.purchases {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    let place = Place::open(&folder, key.address(), shop.fingerprint())?;
    Buyer { shop, key, registry, endpoints, place, args }.buy().await
}

/// No error quotes the file.
fn payer(args: &PayerArgs) -> Result<Key, Failure> {
    match (&args.key.wallet, &args.key.key_file) {
        (Some(word), _) => wallet::key(word, &args.wallets, &args.password),
        (None, Some(file)) => {
            let shown = file.display();
            let text = secret_file::read("the payer's key", file)
                .map_err(|error| Failure::config(format!("--key-file: {shown} cannot be read: {error}")))?;
            text.parse().map_err(|error: KeyError| {
                Failure::config(format!(
                    "--key-file: the key in {shown} is {error}; it holds a private key as 64 hex digits"
                ))
            })
        }
        (None, None) => Err(Failure::config("--wallet or --key-file is missing: say who pays")),
    }
}

/// What a seller has done with a payment.
enum Done {
    /// It was taken for this answer.
    Served(Answer),
    Refused(Answer),
}

enum OnChain {
    Gone,
    Expired,
    Open,
}

impl Buyer {
    async fn buy(&self) -> Result<(), Failure> {
        let mut abandoned = None;
        if let Some(earlier) = self.place.earlier()? {
            if self.args.dry_run {
                self.tell_earlier(&earlier);
                return Ok(());
            }
            if earlier.answer.is_some() {
                eprintln!("obol: an earlier run was answered, and did not print it; nothing is paid now");
                return self.hand_over(earlier).await;
            }
            if self.args.again {
                abandoned = Some(earlier);
            } else if let Some(served) = self.go_on(&earlier).await? {
                return self.bought(earlier, served).await;
            }
        }
        let answer =
            self.shop.ask(None).await.map_err(|error| {
                Failure::unavailable(format!("{}: {error}; nothing was paid", self.shop.url))
            })?;
        if answer.status != 402 {
            return self.free(&answer);
        }
        let sale = answer.sale(&self.registry)?;
        let way = choose(&sale, &self.registry, &self.args.max_amount)?;
        if self.args.dry_run {
            self.tell_price(&way);
            return Ok(());
        }
        let payment = sign(&self.key, way.offered);
        let sent = sale.pay(way.offered, &payment, &self.registry);
        let kept = Kept::new(format!("{} {}", self.shop.method, self.shop.url), &payment, &sent);
        match &abandoned {
            Some(earlier) => self.place.replace(earlier, &kept)?,
            None => self.place.keep(&kept)?,
        }
        match self.send(&kept).await? {
            Done::Served(answer) => self.bought(kept, answer).await,
            Done::Refused(answer) => Err(self.still_open(&answer, &kept)),
        }
    }

    /// Sends a payment until the seller has decided about it.
    async fn send(&self, kept: &Kept) -> Result<Done, Failure> {
        let (sent, until) = (kept.header()?, Instant::now() + Duration::from_secs(self.args.wait));
        let mut told = None;
        loop {
            let answer = self.shop.ask(Some(&sent)).await.map_err(|error| {
                Failure::unknown(format!(
                    "{}: the payment was sent, and no answer came ({error}); run the same command again: it sends \
                     the same payment, which can be taken once",
                    self.shop.url
                ))
            })?;
            let receipt = self.receipt(&answer, kept);
            if let (300..400, None, true, Some(to)) =
                (answer.status, &receipt, answer.is_uncharged(), answer.location())
            {
                return Err(Failure::unknown(format!(
                    "{} answered {}, to {to}, and charges nothing for it: buy that address instead; the payment {} is \
                     good until it expires",
                    self.shop.url, answer.status, kept.nonce
                )));
            }
            if answer.status < 400 || receipt.is_some() {
                return Ok(Done::Served(answer));
            }
            // Being served at this moment, or waiting for its block.
            let waits = matches!(answer.status, 409 | 503);
            let asked = answer.header("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let pause = asked.map_or(PAUSES.0, Duration::from_secs).clamp(PAUSES.0, PAUSES.1);
            if !waits || Instant::now() + pause > until {
                return Ok(Done::Refused(answer));
            }
            let why = answer.why();
            if told.as_ref() != Some(&why) {
                eprintln!("obol: {why}; asking again for {} s", (until - Instant::now()).as_secs());
                told = Some(why);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The answer to a payment that an earlier run has signed; none when it can never be taken.
    async fn go_on(&self, earlier: &Kept) -> Result<Option<Answer>, Failure> {
        self.check_limit(earlier)?;
        eprintln!(
            "obol: an earlier run has signed payment {} for this request; going on with it",
            earlier.nonce
        );
        let answer = match self.send(earlier).await? {
            Done::Served(answer) => return Ok(Some(answer)),
            Done::Refused(answer) => answer,
        };
        // What fails now may be served later.
        if !answer.is_final() {
            return Err(self.still_open(&answer, earlier));
        }
        match self.on_chain(earlier).await? {
            OnChain::Open => Err(self.still_open(&answer, earlier)),
            OnChain::Expired => {
                self.close(earlier, Ended::Expired);
                Ok(None)
            }
            OnChain::Gone => {
                self.close(earlier, Ended::Taken);
                Err(Failure::not_served(format!(
                    "the earlier payment {} was taken, and the seller does not serve it again ({}); run the command \
                     again to pay anew",
                    earlier.nonce,
                    answer.reason()
                )))
            }
        }
    }

    /// The limit is today's.
    fn check_limit(&self, earlier: &Kept) -> Result<(), Failure> {
        let (price, most) = (self.price(earlier)?, &self.args.max_amount);
        let asset = self.registry.asset_at(earlier.chain()?, earlier.asset).map_err(Failure::config)?;
        if earlier.amount()? <= limit(most, asset)? {
            return Ok(());
        }
        Err(Failure::too_dear(format!(
            "an earlier run has signed {price} for this request (payment {}), above --max-amount {most}; it may still \
             be taken: raise --max-amount to go on with it",
            earlier.nonce
        )))
    }

    async fn on_chain(&self, kept: &Kept) -> Result<OnChain, Failure> {
        let chain = kept.chain()?;
        let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.chain.id == chain) else {
            return Err(Failure::unknown(format!(
                "an earlier payment for this request ({}) may have been taken; give --rpc {chain}=<URL> to find out, \
                 or --again to pay anew all the same",
                kept.nonce
            )));
        };
        let question =
            Question { token: kept.asset, payer: kept.payer, payee: kept.pay_to, nonce: kept.nonce };
        let open = |why: String| {
            Failure::unknown(format!("--rpc: {chain}: {why}; the payment {} may still be taken", kept.nonce))
        };
        let read = Reads::start(endpoint.rpc.clone()).ask(question).await;
        let read = read.map_err(|error| open(error.to_string()))?;
        if read.chain_id != chain.reference() {
            return Err(open(format!("the endpoint serves eip155:{}", read.chain_id)));
        }
        Ok(match read.nonce {
            NonceState::Gone => OnChain::Gone,
            NonceState::Unused if read.block_time > kept.valid_before.saturating_add(CLOCKS) => {
                OnChain::Expired
            }
            NonceState::Unused => OnChain::Open,
        })
    }

    /// Nothing is known to have moved, and nothing to have stayed.
    fn still_open(&self, answer: &Answer, kept: &Kept) -> Failure {
        let left = kept.valid_before.saturating_sub(unix_now());
        Failure::unknown(format!(
            "{} answered {} ({}); the payment {} is kept, and may be taken for {left} seconds more: run the same \
             command again to send it again",
            self.shop.url,
            answer.status,
            answer.why(),
            kept.nonce
        ))
    }

    /// What the seller says of this very payment.
    fn receipt(&self, answer: &Answer, kept: &Kept) -> Option<Receipt> {
        let told =
            answer.header(header::PAYMENT_RESPONSE).or_else(|| answer.header(header::X_PAYMENT_RESPONSE));
        let receipt = Receipt::decode(told?.as_bytes(), &self.registry).ok()?;
        match &receipt {
            Receipt::Settled { chain, payer, amount, .. } => {
                let ours = kept.chain == chain.to_string() && kept.payer == *payer;
                let amount_is = amount.is_none_or(|amount| kept.amount().is_ok_and(|ours| ours == amount));
                (ours && amount_is).then_some(receipt)
            }
            Receipt::Unsettled { .. } => None,
        }
    }

    async fn bought(&self, mut kept: Kept, answer: Answer) -> Result<(), Failure> {
        let transaction = match self.receipt(&answer, &kept) {
            Some(Receipt::Settled { transaction, .. }) => Some(transaction),
            Some(Receipt::Unsettled { .. }) | None => None,
        };
        if let Some(why) = &answer.broken {
            eprintln!("obol: the answer broke off after {} bytes: {why}", answer.body.len());
        }
        let bought = Bought {
            status: answer.status,
            location: answer.location(),
            transaction,
            settled: transaction.is_some(),
            whole: answer.broken.is_none(),
        };
        kept.answer = Some(bought);
        if let Err(error) = self.place.keep_answer(&kept, &answer.body) {
            eprintln!("obol: the answer cannot be kept: {error}; it is printed all the same");
            return self.print_and_close(&kept, &answer.body).await;
        }
        self.hand_over(kept).await
    }

    async fn hand_over(&self, kept: Kept) -> Result<(), Failure> {
        let body = self.place.body().map_err(|error| {
            Failure::failed(format!("the answer that was paid for cannot be read again: {error}"))
        })?;
        self.print_and_close(&kept, &body).await
    }

    /// It is accounted for when it is out.
    async fn print_and_close(&self, kept: &Kept, body: &[u8]) -> Result<(), Failure> {
        let Some(bought) = &kept.answer else { return Err(Failure::failed("there is no answer")) };
        let evidence = self.evidence(kept, bought).await?;
        let price = self.price(kept)?;
        let asset = self.registry.asset_at(kept.chain()?, kept.asset).ok();
        let paid = Paid {
            chain: kept.chain()?.into(),
            asset: kept.asset.into(),
            asset_symbol: asset.map(|asset| &*asset.symbol),
            amount: kept.amount()?.into(),
            price: match asset {
                Some(asset) => Some((kept.amount()?, asset.decimals).into()),
                None => None,
            },
            payer: kept.payer.into(),
            pay_to: kept.pay_to.into(),
            nonce: kept.nonce.into(),
            transaction: bought.transaction.map(Into::into),
            settled: bought.settled,
            evidence,
        };
        self.print(bought.status, bought.location.as_deref(), body, Some(paid));
        let pay_to = kept.pay_to.to_checksum(None);
        match (bought.transaction, evidence) {
            (Some(hash), _) => eprintln!("obol: paid {price} to {pay_to} on {}: {hash}", kept.chain),
            (None, Evidence::Chain) => eprintln!("obol: paid {price} to {pay_to} on {}", kept.chain),
            (None, _) => eprintln!(
                "obol: sent {price} to {pay_to} on {}, without a receipt for it; it may be taken until it expires",
                kept.chain
            ),
        }
        if let (300.., Some(location)) = (bought.status, &bought.location) {
            eprintln!("obol: the answer is {}, to {location}", bought.status);
        }
        self.close(kept, Ended::Served);
        match bought.whole {
            true => Ok(()),
            false => Err(Failure::not_served(format!(
                "{} was paid for, and its answer broke off; running the command again pays again",
                self.shop.url
            ))),
        }
    }

    /// Who says that the money has moved.
    async fn evidence(&self, kept: &Kept, bought: &Bought) -> Result<Evidence, Failure> {
        let chain = kept.chain()?;
        let has_endpoint = self.endpoints.iter().any(|endpoint| endpoint.chain.id == chain);
        if has_endpoint && matches!(self.on_chain(kept).await, Ok(OnChain::Gone)) {
            return Ok(Evidence::Chain);
        }
        Ok(if bought.settled { Evidence::Claimed } else { Evidence::None })
    }

    /// A file that cannot be moved is no reason to withhold what was bought.
    fn close(&self, kept: &Kept, ended: Ended) {
        if let Err(error) = self.place.close(kept, ended) {
            eprintln!(
                "obol: payment {} is accounted for, and its file could not be put away: {error}",
                kept.nonce
            );
        }
    }

    fn price(&self, kept: &Kept) -> Result<String, Failure> {
        let amount = kept.amount()?;
        Ok(match self.registry.asset_at(kept.chain()?, kept.asset) {
            Ok(asset) => format!("{} {}", amount.to_decimal(asset.decimals), asset.symbol),
            Err(_) => format!("{amount} of {}", kept.asset),
        })
    }

    fn free(&self, answer: &Answer) -> Result<(), Failure> {
        self.print(answer.status, answer.location().as_deref(), &answer.body, None);
        eprintln!("obol: {} answered {} without a payment", self.shop.url, answer.status);
        match answer.broken.is_none() && answer.status < 300 {
            true => Ok(()),
            false => Err(Failure::failed(format!(
                "{} answered {}; nothing was paid",
                self.shop.url, answer.status
            ))),
        }
    }

    fn print(&self, status: u16, location: Option<&str>, body: &[u8], paid: Option<Paid<'_>>) {
        match self.args.output {
            Output::Json => {
                let answered = Answered { status, location, paid, body: body.into() };
                output::print_json(&PurchaseView::Answered(answered));
            }
            Output::Table => output::print_bytes(body),
        }
    }

    fn tell_price(&self, way: &Way<'_>) {
        match self.args.output {
            Output::Json => output::print_json(&PurchaseView::WouldPay(WouldPay { would_pay: way.into() })),
            Output::Table => {
                let (price, offered) = (way.price(), way.offered);
                let pay_to = offered.pay_to.to_checksum(None);
                output::print(&format!("It would pay {price} to {pay_to} on {}.\n", offered.chain));
            }
        }
    }

    fn tell_earlier(&self, earlier: &Kept) {
        let would = if earlier.answer.is_some() { Step::Print } else { Step::Send };
        match self.args.output {
            Output::Json => {
                let nonce = earlier.nonce.into();
                output::print_json(&PurchaseView::WouldGoOn(WouldGoOn { would, nonce }));
            }
            Output::Table => output::print(&format!(
                "It would {} the payment {}, which an earlier run has signed.\n",
                would.in_words(),
                earlier.nonce
            )),
        }
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
