//! The ledger's writing operations, by name: each commit is a stop point.

macro_rules! ops {
    ($( $op:ident $name:literal, )*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Op { $( $op, )* }

        impl Op {
            pub(crate) const fn before_commit(self) -> &'static str {
                match self { $( Self::$op => concat!("ledger.", $name, ".before-commit"), )* }
            }

            pub(crate) const fn after_commit(self) -> &'static str {
                match self { $( Self::$op => concat!("ledger.", $name, ".after-commit"), )* }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[ $( Self::$op, )* ];
        }
    };
}

ops! {
    Reserve "reserve",
    Recall "recall",
    Release "release",
    Owe "owe",
    LetGo "let-go",
    StartDelivery "start-delivery",
    FinishDelivery "finish-delivery",
    Waive "waive",
    Lease "lease",
    Ask "ask",
    Promise "promise",
    Claim "claim",
    Decline "decline",
    StoreBatch "store-batch",
    StoreAttempt "store-attempt",
    Taken "taken",
    Include "include",
    Orphan "orphan",
    Finalize "finalize",
    Defer "defer",
    Fail "fail",
    Bury "bury",
    Recover "recover",
    TakeOver "take-over",
    Scan "scan",
    Compare "compare",
    Beat "beat",
    Read "read",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_the_money_path_takes_is_a_published_stop_point() {
        for op in Op::ALL {
            // Reading changes no payment; nor do a sign of life, a scan mark and a comparison, and a waived
            // payment has no money in it.
            let listed = !matches!(op, Op::Read | Op::Beat | Op::Waive | Op::Scan | Op::Compare);
            assert_eq!(obol_stop::POINTS.contains(&op.before_commit()), listed, "{op:?}");
            assert_eq!(obol_stop::POINTS.contains(&op.after_commit()), listed, "{op:?}");
        }
    }
}
