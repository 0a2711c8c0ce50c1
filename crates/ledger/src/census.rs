//! Which processes on this ledger are alive, and taking over what the dead ones held.

use crate::{
    Delivery, Ledger, LedgerError, Timestamp,
    clock::millis,
    op::Op,
    row::select_payments,
    sets::{entitled, reserved},
    state::Release,
    txn::Txn,
};
use rusqlite::params;
use std::{collections::HashMap, time::Duration};

/// What one observer has seen of the others. A process is dead when its beat has stood still
/// for a while by the observer's own monotonic clock, so that no jump of the time of day, here
/// or there, declares anybody dead.
#[derive(Debug, Default)]
pub struct Census {
    seen: HashMap<i64, Sighting>,
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    beat: i64,
    since: i64,
}

impl Census {
    /// Notes the beats and names those that have stood still for `patience`.
    fn still(&mut self, beats: &[(i64, i64)], now: i64, patience: Duration) -> Vec<(i64, i64)> {
        self.seen.retain(|owner, _| beats.iter().any(|(listed, _)| listed == owner));
        let patience = millis(patience);
        let mut still = Vec::new();
        for &(owner, beat) in beats {
            let sighting = self.seen.entry(owner).or_insert(Sighting { beat, since: now });
            if sighting.beat != beat {
                *sighting = Sighting { beat, since: now };
            } else if now.saturating_sub(sighting.since) >= patience {
                still.push((owner, beat));
            }
        }
        still
    }
}

impl Ledger {
    /// Gives a sign of life, and takes over what processes held that have given none for
    /// `patience`: their reservations are released, and a response that they did not finish is
    /// owed again. Tells how many payments were moved.
    ///
    /// A process that was only stalled finds its holds gone when it comes back; a response that
    /// it goes on sending then may have been sent by another already.
    pub async fn take_over(&self, census: &mut Census, patience: Duration) -> Result<usize, LedgerError> {
        let begun = self.clock.monotonic();
        let beats = self.writer.write(Op::Beat, beat).await;
        let now = self.clock.monotonic();
        // While nothing could be written, others could give no sign either.
        if beats.is_err() || now.saturating_sub(begun) >= millis(patience) / 2 {
            census.seen.clear();
        }
        let beats = beats?;
        let dead = census.still(&beats, now, patience);
        if dead.is_empty() {
            return Ok(0);
        }
        self.writer.write(Op::TakeOver, move |txn| take_over(txn, &dead)).await
    }
}

/// Tells everybody else's last beat.
fn beat(txn: &Txn<'_>) -> Result<Vec<(i64, i64)>, LedgerError> {
    let me = txn.owner();
    // Entered again if others took this process for dead.
    txn.execute(
        "INSERT INTO owners (id, name, beat) VALUES (?1, ?2, 1) ON CONFLICT (id) DO UPDATE SET beat = beat + 1",
        params![me.number, me.name],
    )?;
    txn.all("SELECT id, beat FROM owners WHERE id <> ?1", [me.number], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn take_over(txn: &Txn<'_>, dead: &[(i64, i64)]) -> Result<usize, LedgerError> {
    let mut moved = 0;
    for &(owner, beat) in dead {
        let gone = txn.execute("DELETE FROM owners WHERE id = ?1 AND beat = ?2", [owner, beat])?;
        if gone == 0 {
            continue;
        }
        for record in
            txn.payments(select_payments!(reserved!(), " AND held_until > 0 AND owner = ?1"), [owner])?
        {
            let released = txn.follow::<Release>(record, "its process died", |record| {
                record.held_until = Timestamp(0);
            })?;
            moved += usize::from(released.is_ok());
        }
        for record in txn.payments(select_payments!("delivery = 1 AND owner = ?1"), [owner])? {
            txn.amend(record, "its process died before the response was finished", |record| {
                record.delivery = Delivery::None;
                record.held_until = Timestamp(0);
            })?;
            moved += 1;
        }
        for record in txn.payments(
            select_payments!(entitled!(), " AND held_until > ?2 AND owner = ?1"),
            params![owner, txn.now().0],
        )? {
            txn.amend(record, "its process died", |record| record.held_until = Timestamp(0))?;
            moved += 1;
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    #[test]
    fn only_a_beat_that_stands_still_for_long_enough_is_a_dead_process() {
        let mut census = Census::default();
        assert!(census.still(&[(1, 5), (2, 9)], 0, PATIENCE).is_empty());
        assert!(census.still(&[(1, 6), (2, 9)], 99, PATIENCE).is_empty());
        assert_eq!(census.still(&[(1, 6), (2, 9)], 100, PATIENCE), [(2, 9)]);
        assert_eq!(census.still(&[(1, 6)], 199, PATIENCE), [(1, 6)]);
        assert_eq!(census.seen.len(), 1);
    }
}
