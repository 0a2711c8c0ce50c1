//! What keeps a payment from being reserved is said before, and in the same words.

use crate::payments::{HOLD, ledger, payment};
use obol_core::{Amount, Reason};
use obol_ledger::{Held, Ledger, NewPayment, Reservation, held};

/// What reserving it says, after the objection has said the same and changed nothing.
async fn both(ledger: &Ledger, new: NewPayment) -> Result<Held<held::Reserved>, Reason> {
    let objection = ledger.objection(new.clone()).await.expect("read").map(|refusal| refusal.reason);
    let reserved = match ledger.reserve(new, HOLD).await.expect("written") {
        Reservation::Granted(held) => Ok(held),
        Reservation::Refused(refusal) => Err(refusal.reason),
        Reservation::Entitled(..) => panic!("nothing was paid"),
    };
    assert_eq!(objection, reserved.as_ref().err().copied());
    reserved
}

#[tokio::test]
async fn an_objection_is_the_refusal_that_would_follow() {
    let ledger = ledger();
    let new = payment(1);
    let mut poor = payment(2);
    poor.balance = Amount::ZERO;
    assert_eq!(both(&ledger, poor).await.err(), Some(Reason::InsufficientBalance));
    let mut held = Some(both(&ledger, new.clone()).await.expect("granted"));
    assert_eq!(both(&ledger, new.clone()).await.err(), Some(Reason::InFlight));
    let mut other = new.clone();
    other.call.data = vec![9; 4].into();
    assert_eq!(both(&ledger, other).await.err(), Some(Reason::TermsChanged));
    for retry in 0.. {
        let Some(reserved) = held.take() else { break };
        ledger.release(reserved, "not served").await.expect("written").expect("held");
        let mut elsewhere = new.clone();
        elsewhere.offer.name.push('x');
        assert_eq!(both(&ledger, elsewhere).await.err(), Some(Reason::TermsChanged));
        match both(&ledger, new.clone()).await {
            Ok(again) => held = Some(again),
            Err(reason) => assert_eq!((retry, reason), (3, Reason::TooManyAttempts)),
        }
    }
}
