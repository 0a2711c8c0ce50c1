//! Handles on payments. A handle is what a request holds; its type says which operations are
//! legal, and each operation consumes it. Whether it still holds the payment is decided in the
//! database, by state and reservation.

use crate::{PaymentId, PaymentRecord};
use std::marker::PhantomData;

/// Verified and held; the upstream has not answered yet.
#[derive(Debug)]
pub enum Reserved {}

/// The upstream did its part, or the money is already on the chain; nothing was sent to the
/// client.
#[derive(Debug)]
pub enum Owed {}

/// The client is being sent the response.
#[derive(Debug)]
pub enum Delivering {}

/// A payment held by one request.
///
/// An owed payment cannot be released as if nothing had happened:
///
/// ```compile_fail
/// # use obol_ledger::{Held, Ledger, held};
/// async fn wrong(ledger: &Ledger, owed: Held<held::Owed>) {
///     ledger.release(owed, "changed my mind").await;
/// }
/// ```
///
/// and a payment that nothing is owed for cannot be delivered on:
///
/// ```compile_fail
/// # use obol_ledger::{Held, Ledger, held};
/// async fn wrong(ledger: &Ledger, reserved: Held<held::Reserved>) {
///     ledger.start_delivery(reserved).await;
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Held<S> {
    pub(crate) id: PaymentId,
    pub(crate) reservation: i64,
    state: PhantomData<S>,
}

impl<S> Held<S> {
    pub(crate) const fn new(id: PaymentId, reservation: i64) -> Self {
        Self { id, reservation, state: PhantomData }
    }

    pub const fn id(&self) -> PaymentId {
        self.id
    }

    pub(crate) const fn holds(&self, record: &PaymentRecord) -> bool {
        self.reservation == record.reservation
    }

    /// For the second try of an operation that was not written.
    pub(crate) const fn again(&self) -> Self {
        Self::new(self.id, self.reservation)
    }

    pub(crate) const fn becomes<T>(self) -> Held<T> {
        Held::new(self.id, self.reservation)
    }
}
