//! Whether the journal, from which sums are kept, says of each payment what the payment says.

use crate::{
    Ledger, LedgerError, PaymentId,
    op::Op,
    sets::{claimed, paid},
};

/// With its newest row in each journal.
const OTHERWISE: &str = concat!(
    "SELECT id FROM payments \
     LEFT JOIN (SELECT payment AS charged, kind, max(seq) FROM charges GROUP BY payment) ON charged = id \
     LEFT JOIN (SELECT payment AS claimed, stands, max(seq) FROM claims GROUP BY payment) ON claimed = id \
     WHERE (",
    paid!(),
    ") IS NOT (coalesce(kind, 1) <> 1) OR (",
    claimed!(),
    ") IS NOT coalesce(stands, 0) ORDER BY id LIMIT ?1"
);

impl Ledger {
    /// Payments that the journal has otherwise than they are, so that no sum of it can be trusted; the
    /// first of them, as many as this. There are none unless somebody else has written to the file.
    /// Reads all that the ledger has.
    pub async fn journal_faults(&self, limit: u32) -> Result<Vec<PaymentId>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| txn.all(OTHERWISE, [limit], |row| Ok(PaymentId(row.get(0)?))))
            .await
    }
}
