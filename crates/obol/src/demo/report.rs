//! What the demo shows.

use super::prometheus::RecordedLine;
use crate::{
    ledger::EarningView,
    output::{self, Output, Table},
    written::{Account, Atomic, Chain, Hash, StateWord},
};
use obol_devchain::{CHAIN, Devchain, USDC};
use schemars::JsonSchema;
use serde::Serialize;

const AGAIN: &str = "Each run has a new chain, and so a new ledger. To keep a run's ledger where you want it, name a \
                     file that is not there yet: --ledger demo.db";

/// What the demo did, or with `--chain-only` what it started.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum DemoView {
    Sold(Document),
    Chain(ChainView),
}

/// What was sold, and where everything is.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document {
    /// CAIP-2 id of the local chain.
    pub(super) chain: Chain,
    /// Each request that was paid for.
    pub(super) payments: Vec<PaymentLine>,
    /// What each offer earned.
    pub(super) earnings: Vec<EarningView>,
    /// What Prometheus has recorded of them; nothing where none runs, or it has not recorded in time.
    pub(super) recorded: Vec<RecordedLine>,
    /// Whether ledger and chain agree. When they do not, the exit code is 3.
    pub(super) reconciled: bool,
    pub(super) urls: Urls,
    /// Path of the ledger.
    pub(super) ledger: String,
    /// Path of the folder of offers.
    pub(super) offers: String,
}

/// A request that was paid for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PaymentLine {
    /// Its method and path.
    pub(super) request: String,
    /// HTTP status of its answer.
    pub(super) status: u16,
    /// Atomic units, as text.
    pub(super) amount: Atomic,
    /// Address of the token.
    pub(super) asset: Account,
    /// Who pays.
    pub(super) payer: Account,
    /// Who is paid.
    pub(super) pay_to: Account,
    /// The transaction that paid it.
    pub(super) transaction: Hash,
    /// The time of that transaction's block, in seconds since the Unix epoch.
    pub(super) block_timestamp: i64,
    /// What is owed for it.
    pub(super) ledger_state: StateWord,
    #[serde(skip)]
    pub(super) body: String,
    #[serde(skip)]
    pub(super) human: String,
}

/// Where it listens. They are gone when the demo has ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Urls {
    /// The chain's endpoint.
    pub(super) rpc: String,
    /// Where buyers are served.
    pub(super) verifier: String,
    /// What is sold.
    pub(super) service: String,
    /// Prometheus; none where it is not installed.
    pub(super) prometheus: Option<String>,
    /// What Prometheus reads, of each process that sells.
    pub(super) metrics: Vec<String>,
}

/// A chain to use by hand.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ChainView {
    /// CAIP-2 id of the local chain.
    chain: Chain,
    urls: ChainUrls,
    /// Address of the token, USDC.
    asset: Account,
    /// Accounts that have the chain's coin, and the buyers USDC. Their keys are known to all.
    accounts: Vec<AccountView>,
}

/// Where the chain listens. It is gone when the demo has ended.
#[derive(Debug, Serialize, JsonSchema)]
struct ChainUrls {
    /// The chain's endpoint.
    rpc: String,
}

/// An account of the local chain.
#[derive(Debug, Serialize, JsonSchema)]
struct AccountView {
    /// What it is for: `settler`, `seller` or `buyer`.
    role: &'static str,
    /// The account.
    address: Account,
    /// Its private key, which is worth nothing.
    key: Hash,
}

impl PaymentLine {
    pub(super) fn in_words(&self) -> String {
        format!("{} {}: paid {}", self.status, self.body.trim(), self.human)
    }
}

impl Document {
    pub(super) fn in_words(&self, once: bool) -> String {
        let mut text = String::from("\n");
        let mut payments = Table::new(["REQUEST", "STATUS", "AMOUNT", "BLOCK TIME", "LEDGER", "TRANSACTION"]);
        for payment in &self.payments {
            payments.row([
                payment.request.clone(),
                payment.status.to_string(),
                payment.human.clone(),
                output::time(payment.block_timestamp),
                payment.ledger_state.to_string(),
                payment.transaction.to_string(),
            ]);
        }
        text.push_str(&payments.render());
        text.push('\n');
        let mut earnings = Table::new(["OFFER", "CHAIN", "EARNED", "PAYMENTS", "OF THEM FINAL"]);
        for earning in &self.earnings {
            earnings.row([
                format!("{}/{}", earning.offer_namespace, earning.offer_name),
                earning.chain.to_string(),
                earning.human.clone(),
                earning.payments.to_string(),
                earning.settled_payments.to_string(),
            ]);
        }
        text.push_str(&earnings.render());
        text.push_str(&self.recorded_in_words());
        text.push_str(match self.reconciled {
            true => "\nLedger and chain agree to the last atomic unit.\n",
            false => "\nLEDGER AND CHAIN DIFFER.\n",
        });
        let ledger = &self.ledger;
        let obol = output::this_command();
        if once {
            text.push_str(&format!(
                "\nThe ledger stays here: {obol} ledger list --ledger {ledger}\nThe chain is gone. {AGAIN}\n"
            ));
            return text;
        }
        text.push_str(&format!(
            "\nTry:\n  curl -i {service}\n  curl -i -H 'Accept: text/html' {service}\n{prometheus}  \
             {obol} ledger list --ledger {ledger}\n  {obol} ledger show --ledger {ledger} 1\n  \
             {obol} ledger verify --ledger {ledger} --rpc base-sepolia={rpc}\n  \
             $EDITOR {offers}/demo-hello.yaml   # change the price; it takes effect at once\n\n{AGAIN}\n",
            service = self.urls.service,
            prometheus = self.prometheus_in_words(),
            rpc = self.urls.rpc,
            offers = self.offers,
        ));
        text
    }
}

impl Document {
    /// What Prometheus has recorded beside what the ledger says.
    fn recorded_in_words(&self) -> String {
        if self.recorded.is_empty() {
            return String::new();
        }
        let mut table = Table::new(["PROMETHEUS", "OFFER", "CHAIN", "RECORDED", "LEDGER"]);
        for line in &self.recorded {
            let same = |earning: &&EarningView| {
                earning.offer_namespace == line.offer_namespace
                    && earning.offer_name == line.offer_name
                    && line.chain.as_ref().is_none_or(|chain| chain.to_string() == earning.chain.to_string())
            };
            let payments: u64 = self.earnings.iter().filter(same).map(|earning| earning.payments).sum();
            table.row([
                line.record.clone(),
                format!("{}/{}", line.offer_namespace, line.offer_name),
                line.chain.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
                line.value.clone(),
                payments.to_string(),
            ]);
        }
        format!("\n{}", table.render())
    }

    fn prometheus_in_words(&self) -> String {
        let metrics = self.urls.metrics.iter().map(|url| format!("  curl {url}\n"));
        let graph = self.urls.prometheus.iter().map(|url| {
            format!(
                "  curl -s '{url}/api/v1/query?query=x402:revenue:24h_by_offer_chain'\n  \
                 curl -s {url}/api/v1/alerts\n"
            )
        });
        metrics.chain(graph).collect()
    }
}

/// What someone needs to know to use the chain by hand.
pub(super) fn chain(chain: &Devchain, output: Output) {
    let accounts = chain.accounts();
    let role = |index: usize| match index {
        0 => "settler",
        1 => "seller",
        _ => "buyer",
    };
    match output {
        Output::Json => {
            let accounts = accounts.iter().enumerate().map(|(index, account)| AccountView {
                role: role(index),
                address: account.address.into(),
                key: account.key.into(),
            });
            output::print_json(&DemoView::Chain(ChainView {
                chain: CHAIN.into(),
                urls: ChainUrls { rpc: chain.url().to_owned() },
                asset: USDC.into(),
                accounts: accounts.collect(),
            }));
        }
        Output::Table => {
            let mut table = Table::new(["ROLE", "ADDRESS", "PRIVATE KEY (known to all)"]);
            for (index, account) in accounts.iter().enumerate().take(5) {
                table.row([
                    role(index).to_owned(),
                    account.address.to_checksum(None),
                    account.key.to_string(),
                ]);
            }
            output::print(&format!(
                "\n{CHAIN} at {}\nUSDC at {}\n\n{}(and {} more buyers, each with 1,000 USDC)\n\n\
                 Running until you press Ctrl-C.\n",
                chain.url(),
                USDC.to_checksum(None),
                table.render(),
                accounts.len().saturating_sub(5),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_run_it_say_how_to_keep_the_ledger_of_the_next() {
        let document = Document {
            chain: CHAIN.into(),
            payments: Vec::new(),
            earnings: Vec::new(),
            recorded: Vec::new(),
            reconciled: true,
            urls: Urls {
                rpc: String::new(),
                verifier: String::new(),
                service: String::new(),
                prometheus: None,
                metrics: Vec::new(),
            },
            ledger: "/tmp/ledger.db".into(),
            offers: "/tmp/offers".into(),
        };
        for once in [true, false] {
            let words = document.in_words(once);
            assert!(words.contains("ledger list --ledger /tmp/ledger.db"), "{words}");
            assert!(words.ends_with("--ledger demo.db\n"), "{words}");
        }
    }
}
