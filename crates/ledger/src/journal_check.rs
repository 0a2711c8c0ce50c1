//! Whether the journal, from which sums are kept, says of each payment what the payment says.

use crate::{
    Ledger, LedgerError, PaymentId,
    op::Op,
    sets::{claimed, paid},
};

/// With what its rows in each journal come to. On the chain it is when it left as often as it came back,
/// and then its newest row is of its block.
const OTHERWISE: &str = concat!(
    "SELECT id FROM payments \
     LEFT JOIN (SELECT payment AS charged, kind, at AS charged_at, max(seq), \
                       count(*) FILTER (WHERE kind = 0) AS firsts, \
                       count(*) FILTER (WHERE kind = 1) - count(*) FILTER (WHERE kind = 2) AS away \
                FROM charges GROUP BY payment) ON charged = id \
     LEFT JOIN (SELECT payment AS claimed, stands, max(seq), \
                       sum(CASE stands WHEN 1 THEN at ELSE -at END) AS since \
                FROM claims GROUP BY payment) ON claimed = id \
     WHERE (",
    paid!(),
    ") IS NOT (coalesce(kind, 1) <> 1) OR firsts <> 1 OR away <> (kind = 1) \
        OR (kind <> 1 AND charged_at IS NOT block_time) \
        OR (",
    claimed!(),
    ") IS NOT coalesce(stands, 0) OR (stands = 0 AND since <> 0) ORDER BY id LIMIT ?1"
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
