//! What is held against one facilitator, and for how long nobody asks it for that.

use std::time::{Duration, Instant};

/// Apart: an answer makes up for silence of its kind only, and for a lie only a proof does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    /// Of questions that move no money.
    pub(super) silence: Fault,
    /// Of questions to settle, after each of which somebody waits for nothing.
    pub(super) lost: Fault,
    pub(super) lies: Fault,
    /// It answered a question to settle, and neither settled nor refused. A buyer may be to blame: others
    /// are preferred to it, and nobody is kept away.
    pub(super) fruitless: Fault,
    /// When it was asked what it settles. Keeps no payment from it: it is nobody's loss.
    pub(super) absent: Fault,
    /// When a payment last had an answer.
    pub(super) heard_at: Option<Instant>,
}

/// How often in a row, since when it is known for the last time, and until when nobody asks it for that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fault {
    pub(super) times: u32,
    pub(super) since: Option<Instant>,
    pub(super) until: Option<Instant>,
    /// Whether one question is out to find out whether it is over.
    pub(super) trying: bool,
}

/// For how long it is left alone, at first and at most.
#[derive(Clone, Copy)]
pub(super) struct Penalty {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

pub(super) const SILENCE: Penalty = Penalty { first: Duration::from_secs(1), most: Duration::from_secs(30) };

pub(super) const LOST: Penalty = Penalty { first: Duration::from_secs(10), most: Duration::from_secs(300) };

/// What it says is not so: the next payment may cost its payer the service.
pub(super) const LIE: Penalty = Penalty { first: Duration::from_secs(60), most: Duration::from_secs(600) };

/// For how long an answer about a payment says more than none to what it settles.
const HEARD: Duration = Duration::from_secs(60);

impl Fault {
    /// Of a question that was put at `asked_at`: those that were out together fail together, once.
    pub(super) fn happen(&mut self, asked_at: Instant, penalty: Penalty) {
        if self.since.is_some_and(|since| asked_at <= since) {
            return;
        }
        self.times = self.times.saturating_add(1);
        self.since = Some(Instant::now());
        self.until = Some(Instant::now() + penalty.after(self.times));
        self.trying = false;
    }

    fn try_again(&mut self, penalty: Penalty) {
        if self.times > 0 {
            self.until = Some(Instant::now() + penalty.after(self.times));
            self.trying = true;
        }
    }

    fn is_over(self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

impl Penalty {
    pub(super) fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(self.most)
    }
}

impl Health {
    pub(super) fn is_up(&self) -> bool {
        [self.silence, self.lost, self.lies, self.fruitless].into_iter().all(Fault::is_over)
    }

    /// Whether it may be asked where nobody else is left: it is being tried, and may well answer.
    pub(super) fn is_open(&self) -> bool {
        [self.silence, self.lost, self.lies].into_iter().all(|fault| fault.is_over() || fault.trying)
    }

    /// Whether its last answers came, and were so.
    pub(super) fn is_well(&self) -> bool {
        self.answers() && self.lies.times == 0 && self.fruitless.times == 0
    }

    pub(super) fn answers(&self) -> bool {
        [self.silence, self.lost, self.absent].into_iter().all(|fault| fault.times == 0)
    }

    pub(super) fn is_heard(&self) -> bool {
        self.heard_at.is_some_and(|at| at.elapsed() < HEARD)
    }

    /// After a pause one question tries; the others have somebody else until it is answered.
    pub(super) fn try_to_check(&mut self) -> bool {
        let up = self.is_up();
        if up {
            self.silence.try_again(SILENCE);
        }
        up
    }

    pub(super) fn try_to_settle(&mut self) -> bool {
        let up = self.is_up();
        if up {
            self.lost.try_again(LOST);
            self.lies.try_again(LIE);
            self.fruitless.try_again(LOST);
        }
        up
    }
}
