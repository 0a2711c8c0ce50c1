//! Sets of payments that queries ask for, as conditions in SQL.
//!
//! An index over part of the table serves a query only when the query repeats the index's
//! condition word by word. A test (in `schema.rs`) holds these against the indexes that the steps in
//! `migrations` make. Each is made of comparisons: for a list of more than two states SQLite builds a
//! table in memory, for each index and at each write.

/// The request has it, or money is owed, or the money is not final yet.
macro_rules! open {
    () => {
        "state <= 5 AND state <> 1"
    };
}

macro_rules! reserved {
    () => {
        "state = 0"
    };
}

macro_rules! due {
    () => {
        "state = 2"
    };
}

/// Owed, and not on the chain.
macro_rules! owed {
    () => {
        "state >= 2 AND state <= 4"
    };
}

macro_rules! submitting {
    () => {
        "state = 3"
    };
}

/// In a transaction that is not in a block.
macro_rules! sent {
    () => {
        "state >= 3 AND state <= 4"
    };
}

/// In a transaction whose block, if it is in one, is not final.
macro_rules! moving {
    () => {
        "state >= 3 AND state <= 5"
    };
}

macro_rules! included {
    () => {
        "state = 5"
    };
}

/// On the chain.
macro_rules! paid {
    () => {
        "state >= 5 AND state <= 6"
    };
}

/// What its payer may come back for.
macro_rules! entitled {
    () => {
        "delivery = 0 AND state >= 2 AND state <> 7 AND state <> 8"
    };
}

/// Said to be on the chain.
macro_rules! claimed {
    () => {
        "state = 9"
    };
}

macro_rules! failed {
    () => {
        "state = 7"
    };
}

/// Delivered, and never to be paid.
macro_rules! lost {
    () => {
        "state = 7 AND delivery <> 0"
    };
}

pub(crate) use {
    claimed, due, entitled, failed, included, lost, moving, open, owed, paid, reserved, sent, submitting,
};

#[cfg(test)]
mod tests {
    use crate::{Delivery, State};
    use rusqlite::Connection;

    /// The states that a condition holds for, by SQLite's own judgement.
    fn states(condition: &str) -> Vec<State> {
        states_when(condition, Delivery::None)
    }

    fn states_when(condition: &str, delivery: Delivery) -> Vec<State> {
        let db = Connection::open_in_memory().expect("a database");
        let sql = format!("SELECT {condition} FROM (SELECT ?1 AS state, ?2 AS delivery)");
        let holds = |state: &State| {
            db.query_row(&sql, [state.code(), delivery.code()], |row| row.get::<_, bool>(0))
                .expect("a verdict")
        };
        State::ALL.iter().copied().filter(holds).collect()
    }

    #[test]
    fn conditions_hold_for_the_states_that_they_are_named_after() {
        use State::{Claimed, Due, Failed, Included, Reserved, Settled, Submitted, Submitting};
        assert_eq!(states(open!()), [Reserved, Due, Submitting, Submitted, Included]);
        assert_eq!(states(reserved!()), [Reserved]);
        assert_eq!(states(due!()), [Due]);
        assert_eq!(states(owed!()), [Due, Submitting, Submitted]);
        assert_eq!(states(submitting!()), [Submitting]);
        assert_eq!(states(sent!()), [Submitting, Submitted]);
        assert_eq!(states(moving!()), [Submitting, Submitted, Included]);
        assert_eq!(states(included!()), [Included]);
        assert_eq!(states(paid!()), [Included, Settled]);
        assert_eq!(states(entitled!()), [Due, Submitting, Submitted, Included, Settled, Claimed]);
        assert_eq!(states(claimed!()), [Claimed]);
        assert_eq!(states(failed!()), [Failed]);
        assert_eq!(states(lost!()), []);
        assert_eq!(states_when(lost!(), Delivery::Done), [Failed]);
        assert_eq!(states_when(entitled!(), Delivery::Done), []);
        for state in State::ALL {
            assert_eq!(states(paid!()).contains(state), state.is_paid(), "{state}");
        }
    }
}
