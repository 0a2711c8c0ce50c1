//! One question to a facilitator, and what its answer means.

use super::panel::Panel;
use crate::{
    Timing,
    sight::{Resolved, Sight, TickError},
    verify::unix_now,
};
use alloy_primitives::B256;
use obol_core::Chain;
use obol_facilitator_client::Client;
use obol_ledger::{Asking, Ledger, PaymentRecord, Question};
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

/// Which answers count: whatever is said to a second question may be about what came of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Later,
}

/// What the chain shows of a transaction that a facilitator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Paid,
    /// It is in a block, and pays something else or nothing.
    SomethingElse,
    Nothing,
}

/// How long after the authorization's end a facilitator is still asked where nobody can look at the
/// chain: what it has sent by then is in a block or never will be.
const PATIENCE: u64 = 10 * 60;

/// How long a payment waits that was delivered, and that the facilitator refuses.
const REFUSED: Duration = Duration::from_secs(15);

/// How often a transaction is looked for, at first.
const GLANCE: Duration = Duration::from_millis(20);

impl Asker {
    /// Puts the question of a due payment, to whom it may be put.
    pub(super) async fn first(self: Arc<Self>, question: Question) -> Result<After, TickError> {
        let pinned = question.facilitator.as_deref();
        // It was refused, or its block is gone: it may be over.
        if pinned.is_some() && self.is_resolved(&question.record).await? == Resolved::Ended {
            return Ok(After::Ended);
        }
        let client = match pinned {
            Some(url) => self.panel.named(url),
            None => self.panel.chosen(),
        };
        let Some(client) = client else { return Ok(After::Again) };
        match self.ledger.ask(question.record.id, client.url().to_string()).await? {
            Asking::Noted => self.put(question, client, Turn::First).await,
            Asking::Moved => Ok(After::Ended),
        }
    }

    /// Puts a question once more, to the same facilitator, unless what became of it is known by now.
    pub(super) async fn again(self: Arc<Self>, question: Question) -> Result<After, TickError> {
        let record = &question.record;
        if self.is_resolved(record).await? == Resolved::Ended {
            return Ok(After::Ended);
        }
        let client = question.facilitator.as_deref().and_then(|url| self.panel.named(url));
        match client {
            Some(client) => self.put(question.clone(), client, Turn::Later).await,
            None => Ok(After::Again),
        }
    }

    async fn is_resolved(&self, record: &PaymentRecord) -> Result<Resolved, TickError> {
        if let Some(sight) = &self.sight {
            return sight.resolve(record).await;
        }
        let end = u64::try_from(record.valid_before).unwrap_or(0).saturating_add(PATIENCE);
        if unix_now() <= end {
            return Ok(Resolved::Open);
        }
        let why = "the authorization has expired, and no facilitator has said that it was settled";
        self.ledger.fail(record.id, why).await?;
        Ok(Resolved::Ended)
    }

    async fn put(&self, question: Question, client: &Client, turn: Turn) -> Result<After, TickError> {
        let Question { record, body, .. } = question;
        let (chain, payer) = (record.key.chain, record.key.payer);
        let answer = tokio::select! {
            answer = client.settle(&body, chain, payer) => answer,
            () = self.is_settled_meanwhile(&record) => return Ok(After::Ended),
        };
        match answer {
            Ok(SettleAnswer::Settled(transaction)) => self.claimed(&record, client, transaction).await,
            Ok(SettleAnswer::Pending(transaction)) => {
                self.panel.answered(client);
                self.ledger.promised(record.id, transaction).await?;
                match (transaction, &self.sight) {
                    (Some(transaction), Some(sight)) => {
                        let shown = self.look(sight, &record, transaction).await?;
                        Ok(if shown == Shown::Paid { After::Ended } else { After::Again })
                    }
                    _ => Ok(After::Again),
                }
            }
            Ok(SettleAnswer::Refused(word)) => {
                self.panel.answered(client);
                self.refused(&record, client, &word, turn).await
            }
            Err(error) => {
                self.panel.lost(client, &error);
                tracing::warn!(chain = %chain, payment = record.id.0, facilitator = %client.url(), %error,
                    "no answer tells what became of a payment; the same facilitator will be asked again");
                Ok(After::Again)
            }
        }
    }

    /// Ends when the chain shows what became of the payment, which may be long before the facilitator
    /// says it.
    async fn is_settled_meanwhile(&self, record: &PaymentRecord) {
        let Some(sight) = &self.sight else { return std::future::pending().await };
        let block = Duration::from_millis(self.chain.block_millis);
        let pause = (block * 2).clamp(Duration::from_secs(1), Duration::from_secs(10));
        loop {
            tokio::time::sleep(pause).await;
            if let Ok(Resolved::Ended) = sight.resolve(record).await {
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
    ) -> Result<After, TickError> {
        let Some(sight) = &self.sight else {
            self.panel.answered(client);
            self.ledger.claimed(record.id, transaction).await?;
            return Ok(After::Ended);
        };
        self.ledger.promised(record.id, Some(transaction)).await?;
        let shown = self.look(sight, record, transaction).await?;
        let why = match shown {
            Shown::Paid => {
                self.panel.proved(client);
                return Ok(After::Ended);
            }
            Shown::SomethingElse => "does not pay it",
            Shown::Nothing => "is in no block",
        };
        tracing::error!(chain = %self.chain.id, payment = record.id.0, facilitator = %client.url(), %transaction,
            "the facilitator says that a payment is settled, and the transaction {why}");
        self.panel.lied(client);
        Ok(After::Again)
    }

    /// It says that nothing was sent. That is believed of the first question only, and not against
    /// the chain: it may be about what came of the question before.
    async fn refused(
        &self,
        record: &PaymentRecord,
        client: &Client,
        word: &Word,
        turn: Turn,
    ) -> Result<After, TickError> {
        tracing::warn!(chain = %self.chain.id, payment = record.id.0, facilitator = %client.url(), %word,
            "the facilitator refuses to settle a payment");
        if turn == Turn::Later || self.sight.is_none() && is_about_use(&word.reason) {
            return Ok(After::Again);
        }
        if let Some(sight) = &self.sight
            && sight.resolve(record).await? == Resolved::Ended
        {
            return Ok(After::Ended);
        }
        self.ledger.declined(record.id, format!("the facilitator says: {word}"), REFUSED).await?;
        Ok(After::Ended)
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
            match self.glance(sight, record, transaction).await {
                Ok(Shown::Nothing) => {}
                Ok(shown) => return Ok(shown),
                Err(error @ TickError::Ledger(_)) => return Err(error),
                Err(error) => {
                    tracing::debug!(chain = %self.chain.id, %error, "a claim cannot be checked at the moment");
                }
            }
            if Instant::now() >= until {
                return Ok(Shown::Nothing);
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
        let paid = self.ledger.payment(record.id).await?.is_some_and(|record| record.state().is_paid());
        Ok(if paid { Shown::Paid } else { Shown::SomethingElse })
    }
}

/// Whether the refusal may mean that the payment was settled before.
fn is_about_use(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["nonce", "already", "duplicate", "transaction_state"].iter().any(|word| reason.contains(word))
}
