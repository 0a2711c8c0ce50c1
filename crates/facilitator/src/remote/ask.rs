//! One question to a facilitator, and what its answer means.

use super::{Turn, panel::Panel};
use crate::{
    Timing,
    sight::{Resolved, Sight, TickError},
    verify::unix_now,
};
use alloy_primitives::B256;
use obol_core::Chain;
use obol_facilitator_client::{AskError, Client};
use obol_ledger::{Asking, Delivery, Ledger, LedgerError, Outcome, PaymentId, PaymentRecord, Question};
use obol_wire::{SettleAnswer, Word};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What all questions of a chain are asked with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) ledger: Ledger,
    pub(super) chain: Arc<Chain>,
    pub(super) panel: Arc<Panel>,
    /// None where no endpoint is configured: then a facilitator's word is all that there is.
    pub(super) sight: Option<Sight>,
    pub(super) timing: Timing,
}

/// Whether a question has to be put again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Ended,
    Again,
}

/// What the chain shows of a transaction that a facilitator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Paid,
    /// The payment was settled by another one.
    PaidByAnother,
    /// It is in a block, and pays something else or nothing.
    SomethingElse,
    Nothing,
    /// The endpoint did not say.
    Unknown,
}

/// Where nobody can look at the chain, how long after the authorization's end a facilitator's word ends
/// a payment: what it has sent by then is in a block or never will be.
const LATE: u64 = 10 * 60;

/// The same without its word.
const TOO_LATE: u64 = 24 * 60 * 60;

/// How long a payment waits that was delivered, and that the facilitator refuses.
const REFUSED: Duration = Duration::from_secs(15);

/// How often a transaction is looked for, at first.
const GLANCE: Duration = Duration::from_millis(20);

impl Asker {
    /// Puts the question of a due payment, to whom it may be put.
    pub(super) async fn first(self: Arc<Self>, question: Question) -> Result<After, TickError> {
        let record = &question.record;
        // It was refused before, or its block is gone: it may be over.
        if let Some(sight) = &self.sight
            && record.delivery != Delivery::None
            && let Resolved::Paid | Resolved::Failed = sight.resolve(record).await?
        {
            return Ok(After::Ended);
        }
        let client = match question.facilitator.as_deref() {
            Some(url) => self.panel.named(url),
            None => self.panel.chosen(),
        };
        let Some(client) = client else { return Ok(After::Again) };
        match self.ledger.ask(record.id, client.url().to_string()).await? {
            Asking::Noted => self.put(question, client, Turn::First).await,
            Asking::Moved => Ok(After::Ended),
        }
    }

    /// Puts a question once more, to the same facilitator, unless the chain shows what became of it.
    pub(super) async fn again(self: Arc<Self>, id: PaymentId) -> Result<After, TickError> {
        let Some(question) = self.ledger.question(id).await? else { return Ok(After::Ended) };
        let client = question.facilitator.as_deref().and_then(|url| self.panel.named(url));
        if let Some(sight) = &self.sight {
            match sight.resolve(&question.record).await? {
                Resolved::Open | Resolved::Unclear | Resolved::Untold => {}
                Resolved::Paid => {
                    // It said so, and was right.
                    if self.paid_by(id, question.record.claim).await? == Some(Shown::Paid) {
                        client.into_iter().for_each(|client| self.panel.proved(client));
                    }
                    return Ok(After::Ended);
                }
                Resolved::Failed => return Ok(After::Ended),
            }
        }
        let Some(client) = client else { return Ok(After::Again) };
        match self.ledger.ask_again(id).await? {
            Asking::Noted => self.put(question, client, Turn::Again).await,
            Asking::Moved => Ok(After::Ended),
        }
    }

    async fn put(&self, question: Question, client: &Client, turn: Turn) -> Result<After, TickError> {
        let Question { record, body, .. } = question;
        let (chain, payer) = (record.key.chain, record.key.payer);
        let asked_at = Instant::now();
        let answer = tokio::select! {
            answer = client.settle(&body, chain, payer) => answer,
            () = self.is_over_meanwhile(&record) => return Ok(After::Ended),
        };
        if answer.is_ok() {
            self.panel.answered(client);
        }
        match answer {
            Ok(SettleAnswer::Settled(transaction)) => {
                self.claimed(&record, client, transaction, asked_at).await
            }
            Ok(SettleAnswer::Pending(transaction)) => {
                self.promised(&record, client, transaction, (turn, asked_at)).await
            }
            Ok(SettleAnswer::Refused(word)) => self.refused(&record, client, &word).await,
            Ok(SettleAnswer::Doubtful(word)) => {
                self.tell(&record, client, &word);
                // Of one that is put again it is what became of the first time.
                if turn == Turn::First {
                    self.panel.fruitless(client, asked_at);
                }
                self.end_if_over(&record, LATE).await
            }
            Err(error) => {
                match error {
                    AskError::Busy => self.panel.complains(client, "busy", &error, Some(record.id)),
                    AskError::Rejected(_) => {
                        self.panel.complains(client, "rejected", &error, Some(record.id));
                    }
                    _ => self.panel.lost(client, &error, asked_at),
                }
                tracing::debug!(%chain, payment = record.id.0, facilitator = %client.url(), %error,
                    "no answer tells what became of a payment; the same facilitator will be asked again");
                self.end_if_over(&record, TOO_LATE).await
            }
        }
    }

    fn tell(&self, record: &PaymentRecord, client: &Client, word: &Word) {
        self.panel.refuses(client, word, Some(record.id));
        tracing::debug!(chain = %self.chain.id, payment = record.id.0, facilitator = %client.url(), %word,
            "the facilitator does not settle a payment");
    }

    /// Where nobody can look at the chain, a payment that was asked about in vain, so long after its end,
    /// has failed. One that was verified by an endpoint, or for which a transaction was named, waits for
    /// an endpoint.
    async fn end_if_over(&self, record: &PaymentRecord, late: u64) -> Result<After, TickError> {
        let end = u64::try_from(record.valid_before).unwrap_or(0).saturating_add(late);
        let waits = self.sight.is_some() || record.has_to_be_seen() || record.claim.is_some();
        if waits || unix_now() <= end {
            return Ok(After::Again);
        }
        let why = "the authorization has expired, and no facilitator has said that it was settled";
        self.ledger.fail(record.id, why).await?;
        Ok(After::Ended)
    }

    /// Ends when the chain shows what became of the payment, which may be long before the facilitator
    /// says it.
    async fn is_over_meanwhile(&self, record: &PaymentRecord) {
        let Some(sight) = &self.sight else { return std::future::pending().await };
        let block = Duration::from_millis(self.chain.block_millis);
        let pause = (block * 2).clamp(Duration::from_secs(1), Duration::from_secs(10));
        loop {
            tokio::time::sleep(pause).await;
            if let Ok(Resolved::Paid | Resolved::Failed) = sight.resolve(record).await {
                return;
            }
        }
    }

    /// It says that the payment is settled.
    async fn claimed(
        &self,
        record: &PaymentRecord,
        client: &Client,
        transaction: B256,
        asked_at: Instant,
    ) -> Result<After, TickError> {
        let Some(sight) = &self.sight else {
            self.panel.proved(client);
            self.ledger.claimed(record.id, transaction).await?;
            // One that an endpoint has verified is promised only, and waits for an endpoint.
            return Ok(if record.has_to_be_seen() { After::Again } else { After::Ended });
        };
        self.ledger.promised(record.id, Some(transaction)).await?;
        let why = match self.look(sight, record, transaction).await? {
            Shown::Paid => {
                self.panel.proved(client);
                return Ok(After::Ended);
            }
            // As somebody else has sent it, or as it was sent again for a higher fee.
            Shown::PaidByAnother => return Ok(After::Ended),
            Shown::Unknown => return Ok(After::Again),
            Shown::SomethingElse => "does not pay it",
            Shown::Nothing => "is in no block",
        };
        tracing::error!(chain = %self.chain.id, payment = record.id.0, facilitator = %client.url(), %transaction,
            "the facilitator says that a payment is settled, and the transaction {why}");
        self.panel.lied(client, asked_at);
        Ok(After::Again)
    }

    /// It says that it will be settled, if by this transaction. Of a question that is put again it is
    /// what became of the first time.
    async fn promised(
        &self,
        record: &PaymentRecord,
        client: &Client,
        transaction: Option<B256>,
        (turn, asked_at): (Turn, Instant),
    ) -> Result<After, TickError> {
        self.ledger.promised(record.id, transaction).await?;
        if let Some(sight) = &self.sight {
            let shown = match transaction {
                Some(transaction) => self.look(sight, record, transaction).await?,
                None => Shown::Nothing,
            };
            match shown {
                Shown::Paid => {
                    self.panel.proved(client);
                    return Ok(After::Ended);
                }
                Shown::PaidByAnother => return Ok(After::Ended),
                Shown::SomethingElse | Shown::Nothing if turn == Turn::First => {
                    let why = "it says that it is about to settle, and the chain shows nothing of it in time";
                    self.panel.complains(client, "pending", &why, Some(record.id));
                    self.panel.fruitless(client, asked_at);
                }
                Shown::SomethingElse | Shown::Nothing | Shown::Unknown => {}
            }
        }
        match transaction {
            Some(_) => Ok(After::Again),
            None => self.end_if_over(record, TOO_LATE).await,
        }
    }

    /// It says that it did not try. That is believed of a question that was put once, and not against
    /// the chain.
    async fn refused(
        &self,
        record: &PaymentRecord,
        client: &Client,
        word: &Word,
    ) -> Result<After, TickError> {
        self.tell(record, client, word);
        if let Some(sight) = &self.sight {
            match self.resolve(sight, record).await? {
                Resolved::Open => {}
                // Its nonce is used, or may be.
                Resolved::Unclear | Resolved::Untold => return Ok(After::Again),
                Resolved::Paid | Resolved::Failed => return Ok(After::Ended),
            }
        }
        match self.ledger.declined(record.id, format!("the facilitator says: {word}"), REFUSED).await? {
            // What was delivered is due again, but not for ever.
            Asking::Noted => {
                self.end_if_over(record, LATE).await?;
                Ok(After::Ended)
            }
            Asking::Moved => self.end_if_over(record, LATE).await,
        }
    }

    /// What became of it, asked for as long as a request waits for its settlement: what is answered once
    /// may not be said again.
    async fn resolve(&self, sight: &Sight, record: &PaymentRecord) -> Result<Resolved, TickError> {
        let until = Instant::now() + self.timing.settle_budget;
        let mut pause = GLANCE;
        loop {
            let resolved = sight.resolve(record).await;
            let is_told = !matches!(resolved, Ok(Resolved::Untold) | Err(TickError::Rpc(_)));
            if is_told || Instant::now() >= until {
                return resolved;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Looks for the transaction for as long as a request waits for its settlement.
    async fn look(
        &self,
        sight: &Sight,
        record: &PaymentRecord,
        transaction: B256,
    ) -> Result<Shown, TickError> {
        let until = Instant::now() + self.timing.settle_budget;
        let longest = Duration::from_millis((self.chain.block_millis / 4).max(20));
        let mut pause = GLANCE;
        loop {
            let shown = match self.glance(sight, record, transaction).await {
                Ok(shown) => shown,
                Err(error @ TickError::Ledger(_)) => return Err(error),
                Err(error) => {
                    tracing::debug!(chain = %self.chain.id, %error, "a claim cannot be checked at the moment");
                    Shown::Unknown
                }
            };
            let is_open = matches!(shown, Shown::Nothing | Shown::Unknown);
            if !is_open || Instant::now() >= until {
                return Ok(shown);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn glance(
        &self,
        sight: &Sight,
        record: &PaymentRecord,
        transaction: B256,
    ) -> Result<Shown, TickError> {
        // Another chain's endpoint proves nothing.
        sight.read_head().await?;
        let Some(receipt) = sight.rpc.receipt(transaction).await? else { return Ok(Shown::Nothing) };
        sight.include_all(&receipt, "settled by the facilitator").await?;
        Ok(self.paid_by(record.id, Some(transaction)).await?.unwrap_or(Shown::SomethingElse))
    }

    /// Whether this transaction or another one has paid it; none while it is not paid.
    async fn paid_by(&self, id: PaymentId, transaction: Option<B256>) -> Result<Option<Shown>, LedgerError> {
        let inclusion = self.ledger.payment(id).await?.and_then(|record| match record.outcome() {
            Outcome::Paid(inclusion) => Some(inclusion),
            _ => None,
        });
        Ok(inclusion.map(|inclusion| match Some(inclusion.tx) == transaction {
            true => Shown::Paid,
            false => Shown::PaidByAnother,
        }))
    }
}
