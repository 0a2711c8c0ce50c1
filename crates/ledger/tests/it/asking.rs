//! Questions to facilitators.

use crate::payments::{CHAIN, SETTLER, inclusion, ledger, owe, payment, record};
use alloy_primitives::{B256, Bytes};
use obol_core::{ChainId, PaymentKey, Reason};
use obol_ledger::{Asking, Attendant, Awaited, NewPayment, Origin, Proof, Reservation, State, UNKNOWN_BLOCK};
use std::time::Duration;

const URL: &str = "https://x402.example";
const HOLD: Duration = Duration::from_secs(60);

fn asked(number: u64) -> NewPayment {
    NewPayment { question: Some(Bytes::from_static(b"{}")), ..payment(number) }
}

#[tokio::test]
async fn a_question_stays_with_its_facilitator_until_that_has_plainly_refused() {
    let ledger = ledger();
    let held = owe(&ledger, asked(0)).await;
    let id = held.id();
    assert_eq!(ledger.ask(id, URL.to_owned()).await, Ok(Asking::Noted));
    assert_eq!(ledger.ask(id, URL.to_owned()).await, Ok(Asking::Moved), "it is not due any more");
    ledger.declined(id, "no", Duration::ZERO).await.expect("declined");
    assert_eq!(record(&ledger, id).await.state(), State::Released);
    let Ok(Reservation::Granted(held)) = ledger.reserve(asked(0), HOLD).await else { panic!("granted") };
    ledger.owe(held, None).await.expect("owed").expect("held");
    // A plain refusal sets it free.
    assert_eq!(ledger.ask(id, "https://other.example".to_owned()).await, Ok(Asking::Noted));
    assert_eq!(ledger.ask_again(id).await, Ok(Asking::Noted));
    ledger.declined(id, "no", Duration::ZERO).await.expect("written");
    assert_eq!(record(&ledger, id).await.state(), State::Submitting, "it may be about the first question");
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

/// Of a process that sees no chain.
fn blind(number: u64) -> NewPayment {
    NewPayment { verified_block: 0, ..asked(number) }
}

#[tokio::test]
async fn only_who_was_asked_says_something_about_a_payment() {
    let ledger = ledger();
    let id = owe(&ledger, blind(0)).await.id();
    ledger.claimed(id, B256::ZERO).await.expect("written");
    assert_eq!(ledger.declined(id, "no", Duration::ZERO).await, Ok(Asking::Moved));
    assert_eq!(record(&ledger, id).await.state(), State::Due, "nobody was asked");
    ledger.ask(id, URL.to_owned()).await.expect("asked");
    ledger.claimed(id, B256::repeat_byte(7)).await.expect("written");
    let claimed = record(&ledger, id).await;
    assert_eq!((claimed.state(), claimed.claim), (State::Claimed, Some(B256::repeat_byte(7))));
    assert_eq!(ledger.newest_attempt(id).await, Ok(Some(B256::repeat_byte(7))));
    ledger.fail(id, "final blocks do not have it").await.expect("written");
    assert_eq!(record(&ledger, id).await.state(), State::Failed);
}

#[tokio::test]
async fn a_claim_of_what_an_endpoint_has_verified_or_doubted_is_a_promise() {
    let ledger = ledger();
    let (seen, doubted) = (owe(&ledger, asked(0)).await.id(), owe(&ledger, blind(1)).await.id());
    for id in [seen, doubted] {
        ledger.ask(id, URL.to_owned()).await.expect("asked");
        ledger.claimed(id, B256::repeat_byte(7)).await.expect("written");
    }
    assert_eq!(record(&ledger, seen).await.state(), State::Submitted);
    assert_eq!(record(&ledger, doubted).await.state(), State::Claimed);
    ledger.doubt(doubted).await.expect("written");
    assert_eq!(ledger.open_questions(CHAIN).await, Ok(vec![seen, doubted]));
    ledger.claimed(doubted, B256::repeat_byte(7)).await.expect("written");
    assert_eq!(record(&ledger, doubted).await.state(), State::Submitted);
}

#[tokio::test]
async fn where_a_search_has_to_begin_is_known_after_every_claim_was_doubted_and_seen() {
    let ledger = ledger();
    let id = owe(&ledger, blind(0)).await.id();
    let first = ledger.first_unseen(CHAIN).await.expect("read");
    assert!(first.is_some());
    ledger.ask(id, URL.to_owned()).await.expect("asked");
    ledger.claimed(id, B256::repeat_byte(7)).await.expect("written");
    ledger.doubt(id).await.expect("written");
    assert_eq!(record(&ledger, id).await.verified_block, UNKNOWN_BLOCK);
    assert_eq!(ledger.first_unseen(CHAIN).await, Ok(first));
    ledger.fail(id, "final blocks do not have it").await.expect("written");
    assert_eq!(ledger.first_unseen(CHAIN).await, Ok(first));
}

#[tokio::test]
async fn a_facilitators_word_for_a_payer_opens_no_door_to_what_that_payer_is_owed() {
    let ledger = ledger();
    let owed = owe(&ledger, asked(0)).await;
    let (id, origin) = (owed.id(), asked(0).origin);
    ledger.ask(id, URL.to_owned()).await.expect("asked");
    ledger.let_go(owed, "the client left").await.expect("written");
    let of_payer = |proof| NewPayment {
        key: PaymentKey { payer: asked(0).key.payer, ..asked(1).key },
        origin,
        proof,
        ..asked(1)
    };
    let Ok(Reservation::Granted(told)) = ledger.reserve(of_payer(Proof::Word), HOLD).await else {
        panic!("a payment of its own")
    };
    ledger.release(told, "the facilitator refuses").await.expect("written").expect("held");
    let proven = ledger.reserve(of_payer(Proof::Signature), HOLD).await;
    assert!(matches!(proven, Ok(Reservation::Entitled(_, paid)) if paid.id == id));
}

#[tokio::test]
async fn what_a_facilitator_was_shown_is_taken_from_its_own_client_only() {
    let ledger = ledger();
    let Ok(Reservation::Granted(held)) = ledger.reserve(asked(0), HOLD).await else { panic!("granted") };
    ledger.release(held, "the upstream failed").await.expect("written").expect("held");
    let origin = Origin { client: B256::repeat_byte(0x66), ..asked(0).origin };
    let copied = ledger.reserve(NewPayment { origin, ..asked(0) }, HOLD).await;
    assert!(matches!(copied, Ok(Reservation::Refused(refusal)) if refusal.reason == Reason::PayerUnproven));
    assert!(matches!(ledger.reserve(asked(0), HOLD).await, Ok(Reservation::Granted(_))));
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
    assert_eq!(ledger.open_questions(CHAIN).await, Ok(vec![put]));
}

/// A contract at one address may be another one's on another chain.
#[tokio::test]
async fn who_controls_an_address_on_one_chain_takes_nothing_that_it_is_owed_on_another() {
    let ledger = ledger();
    let paid = payment(0);
    let owed = owe(&ledger, paid.clone()).await;
    let id = owed.id();
    ledger.include(paid.key, inclusion(0, 8), "its transfer is in a block").await.expect("written");
    ledger.let_go(owed, "the client left").await.expect("written");
    assert_eq!(record(&ledger, id).await.state(), State::Included);
    let again = |chain: u64| NewPayment {
        key: PaymentKey { chain: ChainId::new(chain), nonce: B256::repeat_byte(9), ..paid.key },
        origin: Origin { client: B256::repeat_byte(0x66), ..paid.origin },
        ..payment(0)
    };
    let elsewhere = ledger.reserve(again(1), HOLD).await;
    assert!(matches!(elsewhere, Ok(Reservation::Granted(_))), "{elsewhere:?}");
    let there = ledger.reserve(again(CHAIN.reference()), HOLD).await;
    assert!(matches!(&there, Ok(Reservation::Entitled(_, record)) if record.id == id), "{there:?}");
}
