//! Questions to facilitators.

use crate::payments::{CHAIN, SETTLER, ledger, owe, payment, record};
use alloy_primitives::{B256, Bytes};
use obol_ledger::{Asking, Attendant, Awaited, Delivery, PaymentId, Reservation, State};
use std::time::Duration;

const URL: &str = "https://x402.example";
const HOLD: Duration = Duration::from_secs(60);

fn asked(number: u64) -> obol_ledger::NewPayment {
    obol_ledger::NewPayment { question: Some(Bytes::from_static(b"{}")), ..payment(number) }
}

#[tokio::test]
async fn a_question_is_put_to_one_facilitator_for_good() {
    let ledger = ledger();
    let held = owe(&ledger, asked(0)).await;
    let id = held.id();
    assert_eq!(ledger.ask(id, URL.to_owned()).await, Ok(Asking::Noted));
    assert_eq!(ledger.ask(id, URL.to_owned()).await, Ok(Asking::Moved), "it is not due any more");
    ledger.declined(id, "no", Duration::ZERO).await.expect("declined");
    assert_eq!(record(&ledger, id).await.state(), State::Released);
    let Ok(Reservation::Granted(held)) = ledger.reserve(asked(0), HOLD).await else { panic!("granted") };
    ledger.owe(held, None).await.expect("owed").expect("held");
    assert_eq!(ledger.ask(id, "https://other.example".to_owned()).await, Ok(Asking::Moved));
    assert_eq!(ledger.ask(id, URL.to_owned()).await, Ok(Asking::Noted));
}

#[tokio::test]
async fn a_payment_that_came_before_there_was_a_facilitator_is_asked_about_when_it_comes_again() {
    let ledger = ledger();
    let Ok(Reservation::Granted(held)) = ledger.reserve(payment(0), HOLD).await else { panic!("granted") };
    let id = held.id();
    ledger.release(held, "the upstream failed").await.expect("written").expect("held");
    let Ok(Reservation::Granted(held)) = ledger.reserve(asked(0), HOLD).await else { panic!("granted") };
    ledger.owe(held, None).await.expect("owed").expect("held");
    let due = ledger.due_questions(CHAIN, 10).await.expect("read");
    assert_eq!(due.iter().map(|question| question.record.id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn only_who_was_asked_or_who_signed_says_something_about_a_payment() {
    let ledger = ledger();
    let id = owe(&ledger, asked(0)).await.id();
    ledger.claimed(id, B256::ZERO).await.expect("written");
    ledger.declined(id, "no", Duration::ZERO).await.expect("written");
    assert_eq!(record(&ledger, id).await.state(), State::Due, "nobody was asked");
    ledger.ask(id, URL.to_owned()).await.expect("asked");
    ledger.claimed(id, B256::repeat_byte(7)).await.expect("written");
    let claimed = record(&ledger, id).await;
    assert_eq!(
        (claimed.state(), claimed.claim, claimed.delivery),
        (State::Claimed, Some(B256::repeat_byte(7)), Delivery::None)
    );
    assert_eq!(ledger.newest_attempt(id).await, Ok(Some(B256::repeat_byte(7))));
    ledger.fail(id, "final blocks do not have it").await.expect("written");
    assert_eq!(record(&ledger, id).await.state(), State::Failed);
}

#[tokio::test]
async fn a_question_that_was_put_waits_for_its_facilitator_and_no_other_does() {
    let ledger = ledger();
    let (put, new, plain) = (asked(0), asked(1), payment(2));
    let put = owe(&ledger, put).await.id();
    owe(&ledger, new).await;
    owe(&ledger, plain).await;
    ledger.ask(put, URL.to_owned()).await.expect("asked");
    let [asked, anybody, settler] = [
        (CHAIN, Awaited::Facilitator(URL.to_owned()), 1),
        (CHAIN, Awaited::Anybody, 1),
        (CHAIN, Awaited::AnySettler, 1),
    ];
    let theirs = |url: &str| Attendant::Facilitators(CHAIN, vec![url.to_owned()]);
    for (attendants, left) in [
        (vec![], vec![settler.clone(), anybody.clone(), asked.clone()]),
        (vec![theirs(URL)], vec![settler.clone()]),
        (vec![theirs("https://other.example")], vec![settler, asked.clone()]),
        (vec![Attendant::Settler(SETTLER)], vec![asked]),
    ] {
        assert_eq!(ledger.unattended(attendants.clone()).await, Ok(left), "{attendants:?}");
    }
    assert_eq!(ledger.open_questions(CHAIN, PaymentId(0), 10).await.map(|open| open.len()), Ok(1));
}
