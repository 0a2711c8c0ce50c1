//! Reading and changing payments inside one transaction. The only place that writes a state.

use crate::{
    Delivery, Event, LedgerError, NewPayment, PaymentId, PaymentRecord, Position, State, Timestamp,
    Transition,
    journal::charged,
    row::{
        amount_code, chain_code, delivery, method_code, number_code, read_payment, select_payments, state,
    },
    state::Arrow,
};
use alloy_primitives::Address;
use obol_core::{ChainId, PaymentKey};
use rusqlite::{OptionalExtension, Params, Row, Transaction, params};
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

/// A process on the ledger: what it holds when it dies, others take over.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) number: i64,
    pub(crate) name: String,
}

/// Chain, asset and account.
pub(crate) type PayeeKey = (ChainId, Address, Address);

/// What a transaction has changed, as far as others are to know once it is committed.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) touched: Vec<PaymentId>,
    /// Payees that it has added.
    pub(crate) payees: Vec<PayeeKey>,
    pub(crate) transitions: Vec<Transition>,
}

impl News {
    /// How much there is: what comes later can be taken back.
    const fn mark(&self) -> [usize; 3] {
        let Self { touched, payees, transitions } = self;
        [touched.len(), payees.len(), transitions.len()]
    }

    fn take_back(&mut self, mark: [usize; 3]) {
        let Self { touched, payees, transitions } = self;
        touched.truncate(mark[0]);
        payees.truncate(mark[1]);
        transitions.truncate(mark[2]);
    }
}

pub(crate) struct Txn<'a> {
    tx: &'a Transaction<'a>,
    now: Timestamp,
    owner: &'a Owner,
    /// Payees that were noted before.
    payees: &'a HashSet<PayeeKey>,
    news: RefCell<News>,
    lost: Cell<bool>,
}

impl<'a> Txn<'a> {
    pub(crate) fn new(
        tx: &'a Transaction<'a>,
        now: Timestamp,
        owner: &'a Owner,
        payees: &'a HashSet<PayeeKey>,
    ) -> Self {
        Self { tx, now, owner, payees, news: RefCell::default(), lost: Cell::new(false) }
    }

    pub(crate) fn into_news(self) -> News {
        self.news.into_inner()
    }

    /// Runs `work`, and undoes all that it did when it fails.
    pub(crate) fn all_or_nothing<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mark = self.news.borrow().mark();
        self.execute("SAVEPOINT operation", [])?;
        let ran = work(self);
        if ran.is_err() {
            self.news.borrow_mut().take_back(mark);
        }
        // SQLite ends the transaction itself on some errors: then there is nothing to undo.
        if !self.is_lost() {
            let ended = match ran {
                Ok(_) => Ok(0),
                Err(_) => self.execute("ROLLBACK TO operation", []),
            };
            ended.and_then(|_| self.execute("RELEASE operation", [])).inspect_err(|_| self.lost.set(true))?;
        }
        ran
    }

    /// Whether nothing of the transaction may be committed: SQLite has rolled it back, as it does
    /// when the disk fails, or half an operation could not be undone.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get() || self.tx.is_autocommit()
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, LedgerError> {
        Ok(self.tx.prepare_cached(sql)?.execute(params)?)
    }

    pub(crate) fn last_insert(&self) -> i64 {
        self.tx.last_insert_rowid()
    }

    /// All rows of a query, each read by `read`.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, LedgerError>,
    ) -> Result<Vec<T>, LedgerError> {
        let mut statement = self.tx.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        let mut statement = self.tx.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    /// The payments of a query made by `select_payments!`.
    pub(crate) fn payments(&self, sql: &str, params: impl Params) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.all(sql, params, read_payment)
    }

    pub(crate) fn payment(&self, id: PaymentId) -> Result<Option<PaymentRecord>, LedgerError> {
        self.one(select_payments!("id = ?1"), [id.0], read_payment)
    }

    pub(crate) fn payment_by_key(&self, key: &PaymentKey) -> Result<Option<PaymentRecord>, LedgerError> {
        self.one(
            select_payments!("nonce = ?1 AND payer = ?2 AND asset = ?3 AND chain = ?4 AND method = ?5"),
            params![
                key.nonce.as_slice(),
                key.payer.as_slice(),
                key.asset.as_slice(),
                chain_code(key.chain),
                method_code(key.method)
            ],
            read_payment,
        )
    }

    /// Writes a new row in its first state, which is `Reserved`, or `Released` when it will
    /// never be used because its payer is served on an earlier payment.
    pub(crate) fn insert(
        &self,
        new: &NewPayment,
        first: First,
        held_until: Timestamp,
        why: &str,
    ) -> Result<(PaymentId, i64), LedgerError> {
        let (state, reservation) = match first {
            First::Reserved => (State::Reserved, 1),
            First::Unused => (State::Released, 0),
        };
        let key = &new.key;
        let deployment = new.call.deployment.as_ref();
        self.execute(
            "INSERT INTO payments (chain, asset, method, payer, nonce, payee, amount, call, valid_before, \
             offer_namespace, offer_name, state, revision, reservation, delivery, fingerprint, held_until, \
             verified_block, created_at, changed_at, factory, factory_data, owner, client) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 1, ?13, 0, ?14, ?15, ?16, ?17, ?17, ?18, \
             ?19, ?20, ?21)",
            params![
                chain_code(key.chain),
                key.asset.as_slice(),
                method_code(key.method),
                key.payer.as_slice(),
                key.nonce.as_slice(),
                new.payee.as_slice(),
                amount_code(new.amount),
                &new.call.data[..],
                new.valid_before,
                new.offer.namespace,
                new.offer.name,
                state.code(),
                reservation,
                new.origin.fingerprint.as_slice(),
                held_until.0,
                number_code(new.verified_block),
                self.now.0,
                deployment.map(|deployment| deployment.factory.as_slice()),
                deployment.map(|deployment| &deployment.data[..]),
                self.owner.number,
                new.origin.client.as_slice(),
            ],
        )?;
        let id = PaymentId(self.last_insert());
        self.note_question(id, new)?;
        self.note_payee((key.chain, key.asset, new.payee), new.verified_block)?;
        self.event(id, 1, None, state, Delivery::None, why)?;
        self.news.borrow_mut().transitions.push(Transition {
            position: Position { offer: new.offer.clone(), chain: key.chain, asset: key.asset },
            amount: new.amount,
            from: None,
            to: state,
            delivery: Delivery::None,
            charge: None,
        });
        Ok((id, reservation))
    }

    /// What a facilitator is to be asked, unless that is stored: it was put, perhaps.
    pub(crate) fn note_question(&self, id: PaymentId, new: &NewPayment) -> Result<(), LedgerError> {
        if let Some(body) = &new.question {
            self.execute(
                "INSERT INTO questions (payment, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![id.0, &body[..]],
            )?;
        }
        Ok(())
    }

    /// Where a search for transfers to the payee has to begin. An offer has few payees, and each
    /// is written once.
    fn note_payee(&self, payee: PayeeKey, verified_block: u64) -> Result<(), LedgerError> {
        if self.payees.contains(&payee) || self.news.borrow().payees.contains(&payee) {
            return Ok(());
        }
        self.execute(
            "INSERT INTO payees (chain, asset, payee, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![chain_code(payee.0), payee.1.as_slice(), payee.2.as_slice(), number_code(verified_block)],
        )?;
        self.news.borrow_mut().payees.push(payee);
        Ok(())
    }

    /// Follows an arrow: changes the state, applies `change` to the rest of the row and leaves
    /// an event. `Err` gives the row back untouched when the arrow does not start at its state.
    pub(crate) fn follow<A: Arrow>(
        &self,
        record: PaymentRecord,
        why: &str,
        change: impl FnOnce(&mut PaymentRecord),
    ) -> Result<Result<PaymentRecord, PaymentRecord>, LedgerError> {
        if !A::FROM.contains(&record.state) {
            return Ok(Err(record));
        }
        let from = record.state;
        let mut next = record;
        change(&mut next);
        next.state = A::TO;
        self.store(&mut next, from, why)?;
        Ok(Ok(next))
    }

    /// Changes anything but the state, and leaves an event.
    pub(crate) fn amend(
        &self,
        record: PaymentRecord,
        why: &str,
        change: impl FnOnce(&mut PaymentRecord),
    ) -> Result<PaymentRecord, LedgerError> {
        let state = record.state;
        let mut next = record;
        change(&mut next);
        next.state = state;
        self.store(&mut next, state, why)?;
        Ok(next)
    }

    fn store(&self, next: &mut PaymentRecord, from: State, why: &str) -> Result<(), LedgerError> {
        let inclusion = next.inclusion;
        let changed = self.execute(
            "UPDATE payments SET state = ?3, revision = ?2 + 1, reservation = ?4, delivery = ?5, \
             fingerprint = ?6, held_until = ?7, batch = ?8, batch_cap = ?9, retry_at = ?10, reason = ?11, \
             tx = ?12, block = ?13, block_hash = ?14, block_time = ?15, log_index = ?16, changed_at = ?17, \
             verified_block = ?18, misses = ?19, client = ?20, claim = ?21 WHERE id = ?1 AND revision = ?2",
            params![
                next.id.0,
                next.revision,
                next.state.code(),
                next.reservation,
                next.delivery.code(),
                next.origin.fingerprint.as_slice(),
                next.held_until.0,
                next.batch.map(|batch| batch.0),
                next.batch_cap,
                next.retry_at.0,
                next.reason,
                inclusion.map(|i| i.tx.to_vec()),
                inclusion.map(|i| number_code(i.block)),
                inclusion.map(|i| i.block_hash.to_vec()),
                inclusion.map(|i| i.block_time),
                inclusion.map(|i| number_code(i.log_index)),
                self.now.0,
                number_code(next.verified_block),
                next.misses,
                next.origin.client.as_slice(),
                next.claim.map(|tx| tx.to_vec()),
            ],
        )?;
        if changed != 1 {
            return Err(LedgerError::Corrupt(format!("payment {} changed under a write lock", next.id.0)));
        }
        next.revision += 1;
        next.changed_at = self.now;
        self.event(next.id, next.revision, Some(from), next.state, next.delivery, why)?;
        self.news.borrow_mut().touched.push(next.id);
        if from == next.state {
            return Ok(());
        }
        let charge = charged(self, next, from)?;
        self.news.borrow_mut().transitions.push(Transition {
            position: next.position(),
            amount: next.amount,
            from: Some(from),
            to: next.state,
            delivery: next.delivery,
            charge,
        });
        Ok(())
    }

    fn event(
        &self,
        payment: PaymentId,
        revision: i64,
        from: Option<State>,
        to: State,
        delivery: Delivery,
        why: &str,
    ) -> Result<(), LedgerError> {
        self.execute(
            "INSERT INTO events (payment, revision, at, who, state_from, state_to, delivery, why) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                payment.0,
                revision,
                self.now.0,
                self.owner.name,
                from.map(State::code),
                to.code(),
                delivery.code(),
                why
            ],
        )?;
        Ok(())
    }

    pub(crate) const fn owner(&self) -> &Owner {
        self.owner
    }

    /// The payment is this process's to deliver from now on.
    pub(crate) fn own(&self, payment: PaymentId) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE payments SET owner = ?2 WHERE id = ?1 AND owner <> ?2",
            params![payment.0, self.owner.number],
        )?;
        Ok(())
    }

    pub(crate) fn events(&self, payment: PaymentId) -> Result<Vec<Event>, LedgerError> {
        self.all(
            "SELECT revision, at, who, state_from, state_to, delivery, why FROM events \
             WHERE payment = ?1 ORDER BY revision",
            [payment.0],
            |row| {
                Ok(Event {
                    revision: row.get(0)?,
                    at: Timestamp(row.get(1)?),
                    who: row.get(2)?,
                    from: row.get::<_, Option<i64>>(3)?.map(state).transpose()?,
                    to: state(row.get(4)?)?,
                    delivery: delivery(row.get(5)?)?,
                    why: row.get(6)?,
                })
            },
        )
    }

    /// Whether the payment has ever been in this state.
    pub(crate) fn was(&self, payment: PaymentId, state: State) -> Result<bool, LedgerError> {
        let sql = "SELECT 1 FROM events WHERE payment = ?1 AND state_to = ?2 LIMIT 1";
        Ok(self.one(sql, params![payment.0, state.code()], |_| Ok(()))?.is_some())
    }

    pub(crate) fn ledger_id(&self) -> Result<String, LedgerError> {
        let id = self.tx.query_row("SELECT id FROM ledger", [], |row| row.get(0)).optional()?;
        id.ok_or_else(|| LedgerError::Corrupt("the ledger has no id".to_owned()))
    }
}

/// The state in which a row is born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Reserved,
    Unused,
}
