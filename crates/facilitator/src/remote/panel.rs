//! The facilitators of one chain, in the order in which they are preferred, and how they are.

use super::{
    complaints::Complaints,
    health::{Fault, Health, LIE, LOST, Penalty, SILENCE},
};
use alloy_primitives::{Address, Bytes};
use obol_core::{Reason, Refusal, WireVersion};
use obol_facilitator_client::{AskError, Client};
use obol_ledger::{PaymentId, Proof};
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
    complaints: Mutex<Complaints>,
}

impl Panel {
    pub(crate) fn new(clients: Vec<Client>) -> Self {
        let member = |client| Member { client, health: Mutex::default(), complaints: Mutex::default() };
        Self { members: clients.into_iter().map(member).collect() }
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.members.iter().map(|member| &member.client)
    }

    pub(crate) fn named(&self, url: &str) -> Option<&Client> {
        self.clients().find(|client| client.url().as_str() == url)
    }

    /// Whether any may be asked.
    pub(crate) fn is_open(&self) -> bool {
        self.members.iter().any(|member| member.lock().is_open())
    }

    /// Whether any answers as it should, as far as is known.
    pub(crate) fn is_well(&self) -> bool {
        self.members.iter().any(|member| member.lock().is_well())
    }

    /// Each by its origin, numbered where several share one, and whether it answers as it should, as far
    /// as is known.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (String, bool)> {
        self.members.iter().enumerate().map(|(place, member)| {
            let origin = member.client.url().origin();
            let before = self.clients().take(place).filter(|client| client.url().origin() == origin).count();
            let name = if before == 0 { origin.to_owned() } else { format!("{origin}#{}", before + 1) };
            (name, member.lock().is_well())
        })
    }

    /// Who is to settle: the preferred one of those that may be asked, or of all when none may.
    pub(super) fn chosen(&self) -> Option<&Client> {
        let up = self.members.iter().find(|member| member.lock().try_to_settle());
        let up = up.or_else(|| self.members.iter().find(|member| member.lock().is_open()));
        up.or_else(|| self.members.first()).map(|member| &member.client)
    }

    /// Whether the payment in `question` is good, by the first facilitator that answers.
    pub(crate) async fn check(&self, question: &Bytes, payer: Address, proof: Proof) -> Result<(), Refusal> {
        let mut left = Vec::new();
        for member in &self.members {
            if !member.lock().try_to_check() {
                left.push(member);
            } else if let Some(answer) = self.ask(member, question, payer, proof).await {
                return answer;
            }
        }
        for member in left {
            let open = member.lock().is_open();
            if open && let Some(answer) = self.ask(member, question, payer, proof).await {
                return answer;
            }
        }
        Err(Reason::FacilitatorUnavailable.into())
    }

    /// What one facilitator says, if it says anything.
    async fn ask(
        &self,
        member: &Member,
        question: &Bytes,
        payer: Address,
        proof: Proof,
    ) -> Option<Result<(), Refusal>> {
        let client = &member.client;
        let asked_at = Instant::now();
        let answer = match client.verify(question, payer).await {
            Ok(CheckAnswer::Good) => Some(Ok(())),
            Ok(CheckAnswer::Refused(word)) => {
                self.refuses(client, &word, None);
                Some(Err(refusal(&word, proof)))
            }
            // What one buyer sends must not close the shop for the others.
            Err(error @ AskError::Rejected(_)) => {
                self.complains(client, "rejected", &error, None);
                let detail = format!("the facilitator says: {error}");
                Some(Err(Refusal::new(Reason::FacilitatorRefused, detail)))
            }
            Err(error @ AskError::Busy) => {
                self.complains(client, "busy", &error, None);
                None
            }
            Err(error) => {
                self.fail(client, &error, asked_at, |health| &mut health.silence, SILENCE);
                return None;
            }
        };
        self.heard(client, |health| &mut health.silence);
        answer
    }

    /// It refuses a payment. Its sentence is for the log only.
    pub(super) fn refuses(&self, client: &Client, word: &Word, payment: Option<PaymentId>) {
        let why = format_args!("{word} {}", word.message());
        self.complains(client, word.reason(), &why, payment);
    }

    /// It has something against a payment. Told once a minute for each reason: what one has against one
    /// payment, it has against the next.
    pub(super) fn complains(
        &self,
        client: &Client,
        reason: &str,
        why: &dyn fmt::Display,
        payment: Option<PaymentId>,
    ) {
        let Some(member) = self.member(client) else { return };
        let told = member.complaints.lock().unwrap_or_else(PoisonError::into_inner).count(reason);
        let payment = payment.map(|id| id.0);
        if let Some(times) = told {
            tracing::warn!(facilitator = %client.url(), payment, times, %why, "the facilitator does not settle payments");
        }
    }

    /// It has said what it settles.
    pub(super) fn present(&self, client: &Client) {
        self.note(client, |health| &mut health.absent);
    }

    /// It has not, and when to ask it again.
    pub(super) fn absent(&self, client: &Client, why: &dyn fmt::Display, asked_at: Instant) -> Duration {
        let Some(member) = self.member(client) else { return SILENCE.most };
        if member.lock().is_heard() {
            return SILENCE.most;
        }
        self.fail(client, why, asked_at, |health| &mut health.absent, SILENCE);
        SILENCE.after(member.lock().absent.times)
    }

    /// It has answered a question to settle.
    pub(super) fn answered(&self, client: &Client) {
        self.heard(client, |health| &mut health.lost);
    }

    /// What it said was so, whether or not it answers now.
    pub(super) fn proved(&self, client: &Client) {
        if let Some(member) = self.member(client) {
            let mut health = member.lock();
            (health.lies, health.fruitless) = (Fault::default(), Fault::default());
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

    fn heard(&self, client: &Client, fault: impl FnOnce(&mut Health) -> &mut Fault) {
        self.note(client, |health| {
            health.heard_at = Some(Instant::now());
            health.absent = Fault::default();
            fault(health)
        });
    }

    /// It has answered a question to settle, and nothing came of it.
    pub(super) fn fruitless(&self, client: &Client, asked_at: Instant) {
        if let Some(member) = self.member(client) {
            member.lock().fruitless.happen(asked_at, LOST);
        }
    }

    /// Says once that it answers again.
    fn note(&self, client: &Client, fault: impl FnOnce(&mut Health) -> &mut Fault) {
        let Some(member) = self.member(client) else { return };
        let mut health = member.lock();
        let before = health.answers();
        *fault(&mut health) = Fault::default();
        if !before && health.answers() {
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
        let before = health.answers();
        fault(&mut health).happen(asked_at, penalty);
        if before {
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
        let over = Fault { times: 1, until: Some(Instant::now()), ..Fault::default() };
        health(&panel, 0).lost = over;
        assert_eq!([chosen(&panel), chosen(&panel)], [first, second]);
        *health(&panel, 0) = Health { silence: over, ..Health::default() };
        assert_eq!([(); 2].map(|()| health(&panel, 0).try_to_check()), [true, false]);
        panel.heard(panel.named(first).expect("named"), |health| &mut health.silence);
        assert_eq!([(); 2].map(|()| health(&panel, 0).try_to_check()), [true, true]);
    }

    #[test]
    fn a_facilitator_that_is_being_tried_is_asked_where_nobody_else_is_left() {
        let (first, second) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let panel = Panel::new(vec![client(first), client(second)]);
        let over = Fault { times: 1, until: Some(Instant::now()), ..Fault::default() };
        panel.lost(panel.named(first).expect("named"), &"timed out", Instant::now());
        health(&panel, 1).lost = over;
        assert_eq!([chosen(&panel), chosen(&panel)], [second, second]);
        assert!(panel.is_open());
        panel.lost(panel.named(second).expect("named"), &"timed out", Instant::now());
        assert_eq!((chosen(&panel), panel.is_open()), (first, false));
    }

    #[test]
    fn a_facilitator_of_which_nothing_comes_is_asked_last_and_told() {
        let (first, second) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let panel = Panel::new(vec![client(first), client(second)]);
        let doubted = |url| panel.fruitless(panel.named(url).expect("named"), Instant::now());
        doubted(first);
        assert_eq!((chosen(&panel), panel.is_open(), panel.is_well()), (second, true, true));
        doubted(second);
        assert_eq!((chosen(&panel), panel.is_open(), panel.is_well()), (first, true, false));
        panel.proved(panel.named(first).expect("named"));
        assert_eq!((chosen(&panel), panel.is_well()), (first, true));
    }

    #[test]
    fn a_facilitator_that_failed_is_not_well_until_it_answers_however_long_that_takes() {
        let panel = Panel::new(vec![client("http://127.0.0.1:1")]);
        let only = panel.clients().next().expect("one");
        assert!(panel.is_well());
        panel.absent(only, &"cannot connect", Instant::now());
        assert!(panel.is_open() && !panel.is_well());
        panel.present(only);
        assert!(panel.is_well());
        health(&panel, 0).lost = Fault { times: 1, until: Some(Instant::now()), ..Fault::default() };
        assert!(panel.is_open() && !panel.is_well());
        panel.answered(only);
        assert!(panel.is_well());
    }

    #[test]
    fn a_facilitator_whose_payments_are_answered_is_well_whatever_else_it_does_not_say() {
        let panel = Panel::new(vec![client("http://127.0.0.1:1")]);
        let only = panel.clients().next().expect("one");
        panel.answered(only);
        panel.absent(only, &"HTTP 404", Instant::now());
        assert!(panel.is_well());
    }

    #[test]
    fn a_lie_is_made_up_for_by_a_proof_and_by_no_answer() {
        let panel = Panel::new(vec![client("http://127.0.0.1:1")]);
        let only = panel.clients().next().expect("one");
        panel.lied(only, Instant::now());
        panel.lost(only, &"timed out", Instant::now());
        panel.answered(only);
        assert!(!panel.is_open() && !panel.is_well());
        panel.proved(only);
        assert!(panel.is_open() && panel.is_well());
    }

    #[test]
    fn silence_is_made_up_for_by_an_answer_and_by_no_proof() {
        let panel = Panel::new(vec![client("http://127.0.0.1:1")]);
        let only = panel.clients().next().expect("one");
        panel.lost(only, &"timed out", Instant::now());
        panel.proved(only);
        assert!(!panel.is_open() && !panel.is_well());
        panel.answered(only);
        assert!(panel.is_open() && panel.is_well());
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
