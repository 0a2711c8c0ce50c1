//! The states of a payment and the arrows between them. No other file changes a state: the
//! writer follows an [`Arrow`], and there is no arrow for an illegal transition.

use std::fmt;

macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $( $(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal, )* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$vdoc])* $variant = $code, )* }

        impl $name {
            pub const ALL: &[Self] = &[ $( Self::$variant, )* ];

            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }

            pub(crate) const fn code(self) -> i64 {
                self as i64
            }

            pub(crate) const fn from_code(code: i64) -> Option<Self> {
                match code { $( $code => Some(Self::$variant), )* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

stored_enum! {
    /// What is owed for a payment.
    State {
        /// Verified, and held for one request.
        Reserved = 0 "reserved",
        /// Nothing delivered, nothing owed.
        Released = 1 "released",
        /// The upstream did its part; money is owed.
        Due = 2 "due",
        /// Signed bytes or a question are stored; nobody has seen them yet, as far as is known.
        Submitting = 3 "submitting",
        /// A node took the bytes, or a facilitator the question.
        Submitted = 4 "submitted",
        /// The transfer is in a block.
        Included = 5 "included",
        /// The block is final.
        Settled = 6 "settled",
        /// Cancelled or expired on the chain; will never be paid.
        Failed = 7 "failed",
        /// Allowed without settlement; never usable again.
        Waived = 8 "waived",
        /// A facilitator says that it is settled, and there is no endpoint to check that by.
        Claimed = 9 "claimed",
    }
}

stored_enum! {
    /// What reached the client.
    Delivery {
        None = 0 "none",
        /// The first byte may have been sent.
        Started = 1 "started",
        Done = 2 "done",
    }
}

impl State {
    /// Whether the transfer is on the chain.
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::Included | Self::Settled)
    }

    /// Whether the payment may be delivered on: it is on the chain, or said to be where nobody can look.
    pub const fn is_earned(self) -> bool {
        self.is_paid() || matches!(self, Self::Claimed)
    }
}

/// One legal transition.
pub(crate) trait Arrow {
    const FROM: &'static [State];
    const TO: State;
}

macro_rules! arrows {
    ($( $(#[$doc:meta])* $name:ident: $($from:ident)|+ => $to:ident; )*) => {
        $( $(#[$doc])*
        pub(crate) enum $name {}

        impl Arrow for $name {
            const FROM: &'static [State] = &[ $( State::$from, )+ ];
            const TO: State = State::$to;
        } )*

        #[cfg(test)]
        pub(crate) const ARROWS: &[(&str, &[State], State)] =
            &[ $( (stringify!($name), $name::FROM, $name::TO), )* ];
    };
}

arrows! {
    /// The payer tries again with a payment that was released.
    Retry: Released => Reserved;
    /// Refused, failed upstream, disconnected, or the owner's hold ran out.
    Release: Reserved => Released;
    /// Nothing was broadcast and nothing delivered: there is nothing to owe.
    Forgo: Due => Released;
    /// The upstream did its part.
    Owe: Reserved => Due;
    /// Allowed under `verifyOnly`.
    Waive: Reserved => Waived;
    /// Signed bytes that pay it are stored, or that a facilitator is about to be asked.
    Submit: Due => Submitting;
    /// A node took the bytes, or a facilitator says that a transaction is out.
    Take: Submitting => Submitted;
    /// The facilitator refused when it was first asked, and nothing was delivered.
    Decline: Submitting => Released;
    /// The facilitator says that it is settled, and there is no endpoint to check that by.
    Claim: Submitting | Submitted => Claimed;
    /// The attempt is dead, was mined without the transfer, or was refused by the facilitator.
    Redue: Submitting | Submitted => Due;
    /// The token's events show the transfer, whoever sent it.
    Include: Reserved | Released | Due | Submitting | Submitted | Failed | Waived | Claimed => Included;
    /// There is an endpoint now, and by it the claimed payment's authorization is unused.
    Doubt: Claimed => Submitted;
    /// The block of the transfer is gone, and a transaction of ours, or a facilitator that was asked,
    /// may still pay.
    Orphan: Included => Submitted;
    /// The block of a stranger's transfer is gone, and the client was served or a transaction of
    /// ours was sent.
    OrphanOwed: Included => Due;
    /// The block of a stranger's transfer is gone, the client was not served and nothing sent.
    OrphanUnsent: Included => Released;
    /// The block of a stranger's transfer is gone, and it was waived before.
    OrphanWaived: Included => Waived;
    /// The block is final.
    Finalize: Included => Settled;
    /// Final reads show that it was cancelled or has expired.
    Fail: Due | Submitting | Submitted | Claimed => Failed;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_are_left_by_nothing_but_the_chains_own_evidence() {
        for (name, from, to) in ARROWS {
            assert!(!from.contains(&State::Settled), "{name}");
            if from.contains(&State::Failed) || from.contains(&State::Waived) {
                assert_eq!(*to, State::Included, "{name}");
            }
        }
    }

    #[test]
    fn every_state_can_be_reached_from_reserved() {
        let mut reached = vec![State::Reserved];
        while let Some((_, _, to)) = ARROWS
            .iter()
            .find(|(_, from, to)| !reached.contains(to) && from.iter().any(|f| reached.contains(f)))
        {
            reached.push(*to);
        }
        for state in State::ALL {
            assert!(reached.contains(state), "{state}");
        }
    }

    #[test]
    fn codes_round_trip() {
        for &state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        assert_eq!(State::from_code(99), None);
    }
}
