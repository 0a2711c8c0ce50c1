//! What the demo shows.

use crate::{
    ledger::EarningView,
    output::{self, Output, Table},
};
use obol_devchain::{CHAIN, Devchain, USDC};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

const AGAIN: &str = "Each run has a new chain, and so a new ledger. To keep a run's ledger where you want it, name a \
                     file that is not there yet: --ledger demo.db";

#[derive(Debug, Serialize)]
pub(super) struct Document {
    pub(super) chain: String,
    pub(super) payments: Vec<PaymentLine>,
    pub(super) earnings: Vec<EarningView>,
    pub(super) reconciled: bool,
    pub(super) urls: Urls,
    pub(super) ledger: PathBuf,
    pub(super) offers: PathBuf,
}

#[derive(Debug, Serialize)]
pub(super) struct PaymentLine {
    pub(super) request: String,
    pub(super) status: u16,
    pub(super) amount: String,
    pub(super) asset: String,
    pub(super) payer: String,
    pub(super) pay_to: String,
    pub(super) transaction: String,
    pub(super) block_timestamp: i64,
    pub(super) ledger_state: &'static str,
    #[serde(skip)]
    pub(super) body: String,
    #[serde(skip)]
    pub(super) human: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Urls {
    pub(super) rpc: String,
    pub(super) verifier: String,
    pub(super) service: String,
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
                payment.ledger_state.to_owned(),
                payment.transaction.clone(),
            ]);
        }
        text.push_str(&payments.render());
        text.push('\n');
        let mut earnings = Table::new(["OFFER", "CHAIN", "EARNED", "PAYMENTS", "OF THEM FINAL"]);
        for earning in &self.earnings {
            earnings.row([
                format!("{}/{}", earning.offer_namespace, earning.offer_name),
                earning.chain.clone(),
                earning.human.clone(),
                earning.payments.to_string(),
                earning.settled_payments.to_string(),
            ]);
        }
        text.push_str(&earnings.render());
        text.push_str(match self.reconciled {
            true => "\nLedger and chain agree to the last atomic unit.\n",
            false => "\nLEDGER AND CHAIN DIFFER.\n",
        });
        let ledger = self.ledger.display();
        let obol = output::this_command();
        if once {
            text.push_str(&format!(
                "\nThe ledger stays here: {obol} ledger list --ledger {ledger}\nThe chain is gone. {AGAIN}\n"
            ));
            return text;
        }
        text.push_str(&format!(
            "\nTry:\n  curl -i {service}\n  curl -i -H 'Accept: text/html' {service}\n  \
             {obol} ledger list --ledger {ledger}\n  {obol} ledger show --ledger {ledger} 1\n  \
             {obol} ledger verify --ledger {ledger} --rpc base-sepolia={rpc}\n  \
             $EDITOR {offers}/demo-hello.yaml   # change the price; it takes effect at once\n\n{AGAIN}\n",
            service = self.urls.service,
            rpc = self.urls.rpc,
            offers = self.offers.display(),
        ));
        text
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
            let accounts: Vec<_> = accounts
                .iter()
                .enumerate()
                .map(|(index, account)| {
                    json!({"role": role(index), "address": account.address.to_checksum(None), "key": account.key})
                })
                .collect();
            output::print_json(&json!({
                "chain": CHAIN.to_string(), "urls": {"rpc": chain.url()},
                "asset": USDC.to_checksum(None), "accounts": accounts,
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
            chain: CHAIN.to_string(),
            payments: Vec::new(),
            earnings: Vec::new(),
            reconciled: true,
            urls: Urls { rpc: String::new(), verifier: String::new(), service: String::new() },
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
