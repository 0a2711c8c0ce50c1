//! The facilitators of one chain, in the order in which they are preferred, and how they are.

use alloy_primitives::{Address, Bytes};
use obol_core::{Reason, Refusal, WireVersion};
use obol_facilitator_client::{AskError, Client};
use obol_ledger::Proof;
use obol_wire::{CheckAnswer, Word};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

pub(crate) struct Panel {
    members: Vec<Member>,
}

struct Member {
    client: Client,
    health: Mutex<Health>,
}

/// What is held against it, apart: an answer makes up for silence of its kind only, and for a lie only
/// a proof does.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// Of questions that move no money.
    silence: Fault,
    /// Of questions to settle, after each of which somebody waits for nothing.
    lost: Fault,
    lies: Fault,
}

/// How often in a row, since when it is known for the last time, and until when nobody asks it for that.
#[derive(Clone, Copy, Debug, Default)]
struct Fault {
    times: u32,
    since: Option<Instant>,
    until: Option<Instant>,
}

/// For how long it is left alone, at first and at most.
#[derive(Clone, Copy)]
struct Penalty {
    first: Duration,
    most: Duration,
}

const SILENCE: Penalty = Penalty { first: Duration::from_secs(1), most: Duration::from_secs(30) };

const LOST: Penalty = Penalty { first: Duration::from_secs(10), most: Duration::from_secs(300) };

/// What it says is not so: the next payment may cost its payer the service.
const LIE: Penalty = Penalty { first: Duration::from_secs(60), most: Duration::from_secs(600) };

impl Fault {
    /// Of a question that was put at `asked_at`: those that were out together fail together, once.
    fn happen(&mut self, asked_at: Instant, penalty: Penalty) {
        if self.since.is_some_and(|since| asked_at <= since) {
            return;
        }
        self.times = self.times.saturating_add(1);
        self.since = Some(Instant::now());
        self.until = Some(Instant::now() + penalty.after(self.times));
    }

    fn try_again(&mut self, penalty: Penalty) {
        if self.times > 0 {
            self.until = Some(Instant::now() + penalty.after(self.times));
        }
    }

    fn is_over(self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

impl Penalty {
    fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(self.most)
    }
}

impl Health {
    fn is_up(&self) -> bool {
        [self.silence, self.lost, self.lies].into_iter().all(Fault::is_over)
    }

    /// After a pause one question tries; the others have somebody else until it is answered.
    fn try_to_check(&mut self) -> bool {
        let up = self.is_up();
        if up {
            self.silence.try_again(SILENCE);
        }
        up
    }

    fn try_to_settle(&mut self) -> bool {
        let up = self.is_up();
        if up {
            self.lost.try_again(LOST);
            self.lies.try_again(LIE);
        }
        up
    }
}

impl Panel {
    pub(crate) fn new(clients: Vec<Client>) -> Self {
        let member = |client| Member { client, health: Mutex::default() };
        Self { members: clients.into_iter().map(member).collect() }
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.members.iter().map(|member| &member.client)
    }

    pub(crate) fn named(&self, url: &str) -> Option<&Client> {
        self.clients().find(|client| client.url().as_str() == url)
    }

    /// Whether any may be asked.
    pub(crate) fn is_up(&self) -> bool {
        self.members.iter().any(|member| member.lock().is_up())
    }

    /// Who is to settle: the preferred one of those that may be asked, or of all when none may.
    pub(super) fn chosen(&self) -> Option<&Client> {
        let up = self.members.iter().find(|member| member.lock().try_to_settle());
        up.or_else(|| self.members.first()).map(|member| &member.client)
    }

    /// Whether the payment in `question` is good, by the first facilitator that answers.
    pub(crate) async fn check(&self, question: &Bytes, payer: Address, proof: Proof) -> Result<(), Refusal> {
        for member in self.members.iter().filter(|member| member.lock().try_to_check()) {
            let client = &member.client;
            let asked_at = Instant::now();
            match client.verify(question, payer).await {
                Ok(answer) => {
                    self.note(client, |health| std::mem::take(&mut health.silence));
                    return match answer {
                        CheckAnswer::Good => Ok(()),
                        CheckAnswer::Refused(word) => Err(refusal(&word, proof)),
                    };
                }
                // What one buyer sends must not close the shop for the others.
                Err(error @ AskError::Rejected(_)) => {
                    self.note(client, |health| std::mem::take(&mut health.silence));
                    let detail = format!("the facilitator says: {error}");
                    return Err(Refusal::new(Reason::FacilitatorRefused, detail));
                }
                Err(AskError::Busy) => {
                    self.note(client, |health| std::mem::take(&mut health.silence));
                }
                Err(error) => self.fail(client, &error, asked_at, |health| &mut health.silence, SILENCE),
            }
        }
        Err(Reason::FacilitatorUnavailable.into())
    }

    /// It has answered a question to settle.
    pub(super) fn answered(&self, client: &Client) {
        self.note(client, |health| std::mem::take(&mut health.lost));
    }

    /// What it said was so.
    pub(super) fn proved(&self, client: &Client) {
        self.answered(client);
        if let Some(member) = self.member(client) {
            member.lock().lies = Fault::default();
        }
    }

    /// It has not answered a question to settle.
    pub(super) fn lost(&self, client: &Client, why: &dyn fmt::Display, asked_at: Instant) {
        self.fail(client, why, asked_at, |health| &mut health.lost, LOST);
    }

    pub(super) fn lied(&self, client: &Client, asked_at: Instant) {
        if let Some(member) = self.member(client) {
            member.lock().lies.happen(asked_at, LIE);
        }
    }

    /// Says once that it answers again.
    fn note(&self, client: &Client, take: impl FnOnce(&mut Health) -> Fault) {
        let Some(member) = self.member(client) else { return };
        if take(&mut member.lock()).times > 0 {
            tracing::info!(facilitator = %client.url(), "the facilitator answers again");
        }
    }

    /// Says once that it does not answer.
    fn fail(
        &self,
        client: &Client,
        why: &dyn fmt::Display,
        asked_at: Instant,
        fault: impl FnOnce(&mut Health) -> &mut Fault,
        penalty: Penalty,
    ) {
        let Some(member) = self.member(client) else { return };
        let mut health = member.lock();
        let fault = fault(&mut health);
        let before = fault.times;
        fault.happen(asked_at, penalty);
        if before == 0 {
            tracing::error!(facilitator = %client.url(), %why, "the facilitator does not answer as it should");
        }
    }

    fn member(&self, client: &Client) -> Option<&Member> {
        self.members.iter().find(|member| member.client.url() == client.url())
    }
}

impl Member {
    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A facilitator's refusal in our words, where it has one of them and can know. Nobody's word but a
/// signature's is taken for who the payer is: funds that are said to be missing may open a door.
fn refusal(word: &Word, proof: Proof) -> Refusal {
    let known = |reason: &Reason| {
        [WireVersion::V1, WireVersion::V2].iter().any(|version| reason.code(*version) == word.reason())
    };
    let told = [Reason::NonceUsed, Reason::Expired, Reason::NotYetValid];
    let funds = (proof == Proof::Signature).then_some(Reason::InsufficientBalance);
    let reason = told.into_iter().chain(funds).find(known).unwrap_or(Reason::FacilitatorRefused);
    Refusal::new(reason, format!("the facilitator says: {word}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use obol_core::Registry;
    use obol_facilitator_client::Url;
    use std::sync::Arc;

    fn client(url: &str) -> Client {
        let url = Url::parse(url).expect("a URL");
        Client::new(url, None, Arc::new(Registry::built_in()), Duration::from_secs(1)).expect("a client")
    }

    fn health(panel: &Panel, at: usize) -> std::sync::MutexGuard<'_, Health> {
        panel.members[at].lock()
    }

    fn chosen(panel: &Panel) -> &str {
        panel.chosen().expect("one").url().as_str()
    }

    #[test]
    fn the_preferred_facilitator_is_asked_first_and_one_that_fails_is_left_alone_for_a_while() {
        let (first, second) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let panel = Panel::new(vec![client(first), client(second)]);
        assert_eq!((chosen(&panel), health(&panel, 0).try_to_check()), (first, true));
        let preferred = panel.named(first).expect("named");
        panel.lost(preferred, &"timed out", Instant::now());
        assert_eq!((chosen(&panel), health(&panel, 0).try_to_check()), (second, false));
        panel.answered(preferred);
        assert_eq!(chosen(&panel), first);
    }

    #[test]
    fn questions_that_were_out_together_fail_together_once() {
        let panel = Panel::new(vec![client("http://127.0.0.1:1")]);
        let only = panel.clients().next().expect("one");
        let together = Instant::now();
        for _ in 0..8 {
            panel.lost(only, &"timed out", together);
        }
        assert_eq!(health(&panel, 0).lost.times, 1);
        panel.lost(only, &"timed out", Instant::now());
        assert_eq!(health(&panel, 0).lost.times, 2);
    }

    #[test]
    fn after_a_pause_one_question_tries_and_the_others_go_elsewhere() {
        let (first, second) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let panel = Panel::new(vec![client(first), client(second)]);
        let over = Fault { times: 1, since: None, until: Some(Instant::now()) };
        health(&panel, 0).lost = over;
        assert_eq!([chosen(&panel), chosen(&panel)], [first, second]);
        *health(&panel, 0) = Health { silence: over, ..Health::default() };
        assert_eq!([(); 2].map(|()| health(&panel, 0).try_to_check()), [true, false]);
        panel.note(panel.named(first).expect("named"), |health| std::mem::take(&mut health.silence));
        assert_eq!([(); 2].map(|()| health(&panel, 0).try_to_check()), [true, true]);
    }

    #[test]
    fn a_lie_is_made_up_for_by_a_proof_and_by_no_answer() {
        let panel = Panel::new(vec![client("http://127.0.0.1:1")]);
        let only = panel.clients().next().expect("one");
        panel.lied(only, Instant::now());
        panel.answered(only);
        assert!(!panel.is_up());
        panel.proved(only);
        assert!(panel.is_up());
    }

    #[test]
    fn the_more_often_a_facilitator_fails_the_longer_nobody_asks_it() {
        let pauses = [1, 2, 3, 6, 40].map(|failures| SILENCE.after(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 30, 30]);
        assert!(LIE.after(1) > SILENCE.most);
    }

    #[test]
    fn missing_funds_are_believed_of_a_proven_payer_only() {
        let json = br#"{"isValid":false,"invalidReason":"insufficient_funds"}"#;
        let Ok(CheckAnswer::Refused(word)) = CheckAnswer::read(json, Address::ZERO) else {
            panic!("a refusal")
        };
        assert_eq!(refusal(&word, Proof::Signature).reason, Reason::InsufficientBalance);
        assert_eq!(refusal(&word, Proof::Word).reason, Reason::FacilitatorRefused);
    }
}
