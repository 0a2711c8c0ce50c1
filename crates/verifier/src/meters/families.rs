//! Every family that the verifier tells. `docs/metrics.md` is generated from here, and the rules
//! and the dashboard of `deploy/prometheus` are held against it.

use obol_telemetry::families;

/// An offer, on one chain, in one asset. The chain is the resolved CAIP-2 id, however the offer has it.
const OFFER: &[&str] = &["offer_namespace", "offer_name", "chain", "asset_symbol"];
const OFFER_AND_REASON: &[&str] = &["offer_namespace", "offer_name", "chain", "asset_symbol", "reason"];
const OFFER_AND_WINDOW: &[&str] =
    &["offer_namespace", "offer_name", "chain", "asset_symbol", "window", "ledger"];
const OFFER_AND_LEDGER: &[&str] = &["offer_namespace", "offer_name", "chain", "asset_symbol", "ledger"];
const ASSET: &[&str] = &["chain", "asset_symbol"];
const ASSET_AND_WINDOW: &[&str] = &["chain", "asset_symbol", "window", "ledger"];
const ASSET_AND_LEDGER: &[&str] = &["chain", "asset_symbol", "ledger"];
const CHAIN: &[&str] = &["chain"];
const CHAIN_AND_LEDGER: &[&str] = &["chain", "ledger"];

families! { "obol_x402_verifier_":
    REQUESTS = Counter "requests_total" OFFER,
        "Requests to the offer; an unpaid one under its first requirement.";
    REQUIRED = Counter "payment_required_total" OFFER,
        "Unpaid requests that were told what to pay.";
    VERIFIED = Counter "payment_verified_total" OFFER,
        "Payments that were found good and reserved in the ledger.";
    FAILED = Counter "payment_failed_total" OFFER,
        "Answers to payments that were refused, or not settled in time, one for each time that a payment came; and payments that were delivered on and failed.";
    FAILURE_REASONS = Counter "payment_failure_reasons_total" OFFER_AND_REASON,
        "The same by reason (docs/reasons.md); a series begins with its first.";
    CHARGED = Counter "charged_requests_total" OFFER,
        "Payments at their first inclusion in a block, by the process that saw it.";
    CLAIMED = Counter "claimed_requests_total" OFFER,
        "Payments that a facilitator says are settled, where there is no endpoint to check it by.";
    WAIVED = Counter "waived_requests_total" OFFER,
        "Payments that were let pass under --verify-only, and are never charged.";
    REVERSALS = Counter "charge_reversals_total" OFFER,
        "Payments whose block was reorganised away, and that were off the chain meanwhile; not those that were found in another block at once.";
    UPSTREAM_FAILED = Counter "upstream_failed_after_verify_total" OFFER,
        "Requests with a good payment that the service behind the gate failed or refused: not charged for.";
    CLIENT_LEFT = Counter "client_left_total" OFFER,
        "Requests with a good payment whose client left before anything was delivered; what was submitted by then is charged all the same, and delivered when its payer comes again.";
    SETTLED_AMOUNT = Counter "settled_amount_total" OFFER,
        "Atomic units of the payments at their first inclusion.";
    LAST_SUCCESS = Gauge "last_payment_success_seconds" OFFER,
        "Block time of the newest payment that is on the chain, by the ledger; absent before the first.";
    UNSETTLED = Gauge "unsettled_payments" OFFER,
        "Payments that are delivered and not on the chain, by the ledger.";
    UNSETTLED_AMOUNT = Gauge "unsettled_amount" OFFER,
        "Their amount in atomic units.";
    UNSETTLED_LIMIT = Gauge "unsettled_amount_limit" OFFER,
        "The offer's bound on that amount, in atomic units; only where it charges optimistically.";
    OLDEST_UNSETTLED = Gauge "oldest_unsettled_seconds" OFFER,
        "When the oldest of those payments was taken, in seconds since the Unix epoch; absent when there is none.";
    LOST = Gauge "lost_payments" OFFER,
        "Payments that were delivered and failed, by the ledger: lost, unless the chain shows one after all.";
    LOST_AMOUNT = Gauge "lost_amount" OFFER,
        "Their amount in atomic units; with unsettled_amount it is what unsettled_amount_limit bounds.";
    LEDGER_CHARGED = Gauge "ledger_charged_requests" OFFER_AND_WINDOW,
        "Payments by their first inclusion within the window, by block time and by the ledger: exact, and the same at every replica.";
    LEDGER_SETTLED = Gauge "ledger_settled_amount" OFFER_AND_WINDOW,
        "Their amount in atomic units.";
    LEDGER_REVERSED = Gauge "ledger_reversed_requests" OFFER_AND_LEDGER,
        "Of the payments of the lifetime those whose transfer is not on the chain now.";
    LEDGER_REVERSED_AMOUNT = Gauge "ledger_reversed_amount" OFFER_AND_LEDGER,
        "Their amount in atomic units.";
    LEDGER_CLAIMED = Gauge "ledger_claimed_requests" OFFER_AND_WINDOW,
        "Payments that a facilitator said within the window are settled, as long as the chain does not tell, by the ledger; only where there is no endpoint, or something is claimed.";
    LEDGER_CLAIMED_AMOUNT = Gauge "ledger_claimed_amount" OFFER_AND_WINDOW,
        "Their amount in atomic units.";
    CHAIN_CHARGED = Counter "chain_charged_requests_total" ASSET,
        "Payments at their first inclusion, also of offers that are not served any more.";
    CHAIN_SETTLED = Counter "chain_settled_amount_total" ASSET,
        "Their amount in atomic units.";
    CHAIN_UNSETTLED = Gauge "chain_unsettled_payments" ASSET_AND_LEDGER,
        "Payments that are delivered and not on the chain, by the ledger, also of offers that are not served any more.";
    CHAIN_UNSETTLED_AMOUNT = Gauge "chain_unsettled_amount" ASSET_AND_LEDGER,
        "Their amount in atomic units.";
    CHAIN_OLDEST = Gauge "chain_oldest_unsettled_seconds" ASSET_AND_LEDGER,
        "When the oldest of them was taken, in seconds since the Unix epoch; absent when there is none.";
    CHAIN_LOST_AMOUNT = Gauge "chain_lost_amount" ASSET_AND_LEDGER,
        "Atomic units that were delivered on and are lost, also of offers that are not served any more.";
    CHAIN_LEDGER_CHARGED = Gauge "chain_ledger_charged_requests" ASSET_AND_WINDOW,
        "Payments by their first inclusion within the window, by the ledger, also of offers that are not served any more.";
    CHAIN_LEDGER_SETTLED = Gauge "chain_ledger_settled_amount" ASSET_AND_WINDOW,
        "Their amount in atomic units.";
    CHAIN_LEDGER_REVERSED = Gauge "chain_ledger_reversed_requests" ASSET_AND_WINDOW,
        "Of the payments that count in the window those whose transfer is not on the chain now, also of such offers.";
    CHAIN_LEDGER_REVERSED_AMOUNT = Gauge "chain_ledger_reversed_amount" ASSET_AND_WINDOW,
        "Their amount in atomic units: what chain_ledger_settled_amount has more is what the ledger calls earned.";
    CHAIN_LEDGER_CLAIMED = Gauge "chain_ledger_claimed_amount" ASSET_AND_WINDOW,
        "Atomic units of the payments that a facilitator said within the window are settled, as long as the chain does not tell, by the ledger, also of such offers.";
    ASSET_UNIT = Gauge "asset_unit" ASSET,
        "Atomic units of one whole unit of the asset: 1000000 where it has 6 decimals.";
    HEAD = Gauge "chain_head_seconds" CHAIN,
        "Time of the newest block that the chain's endpoint has, in seconds since the Unix epoch; absent while it has none.";
    DRIFT = Gauge "ledger_drift_payments" CHAIN_AND_LEDGER,
        "Payments of which ledger and chain say different things, by the last reconciliation with this verifier's endpoint, which the ledger remembers.";
    DRIFT_AMOUNT = Gauge "ledger_drift_amount" ASSET_AND_LEDGER,
        "What the ledger calls paid less what the chain shows, in atomic units, by the last reconciliation.";
    UNATTRIBUTED = Gauge "unattributed_transfers" CHAIN_AND_LEDGER,
        "Transfers to the ledger's payees that are no payment of it, by the last reconciliation: no difference, and worth a look where each ledger has payees of its own.";
    UNATTRIBUTED_AMOUNT = Gauge "unattributed_amount" ASSET_AND_LEDGER,
        "Their amount in atomic units.";
    RECONCILED = Gauge "last_reconciliation_seconds" CHAIN_AND_LEDGER,
        "When ledger and chain were last compared by this verifier's endpoint, whichever process did, in seconds since the Unix epoch; absent before the first time.";
    RECONCILIATION_UP = Gauge "reconciliation_up" CHAIN_AND_LEDGER,
        "0 when this process's last try to compare ledger and chain came to nothing; absent where it does not compare.";
    VERIFY_DURATION = Histogram "verify_duration_seconds" CHAIN,
        "How long it takes to find out whether a payment is good.";
    SETTLE_DURATION = Histogram "settle_duration_seconds" CHAIN,
        "From owed to the first inclusion in a block, by the process that saw it.";
    BALANCE = Gauge "settler_balance_wei" CHAIN,
        "Gas money of the account that settles.";
    GAS_SPENT = Gauge "settler_gas_spent_wei" &["chain", "window"],
        "What its transactions have cost, by the ledger.";
    GAS_DAYS = Gauge "settler_gas_days_left" CHAIN,
        "How many days the gas money lasts at the last day's rate; absent when nothing was spent.";
    PAYMENTS_LEFT = Gauge "settler_payments_left" CHAIN,
        "How many payments the gas money lasts for at the fees of the moment, each in a transaction of its own and without what L1 costs.";
    SETTLER_STATE = Gauge "settler_state" &["chain", "state"],
        "1 for what the chain's settler can do at the moment (docs/verifier.md), 0 for the others.";
    FACILITATOR_UP = Gauge "facilitator_up" &["chain", "facilitator"],
        "Whether a facilitator of others' answers as it should.";
    REFUSED = Counter "refused_requests_total" &["reason"],
        "Requests that were refused for another reason than that they were unpaid; also those for no offer.";
    OFFERS_SERVED = Gauge "offers_served" &[],
        "Offers that are sold, without the paused and drained ones.";
    OFFERS_PAUSED = Gauge "offers_paused" &[],
        "Offers that are loaded, and paused or drained: nothing of theirs is sold.";
    OFFER_FAULTS = Gauge "offer_faults" &[],
        "Faults of the last load: what is configured and not sold, or not as it is written now; the log and obol sell list say which.";
    LEDGER_UP = Gauge "ledger_up" &[],
        "Whether the ledger could be read for this scrape; when not, what is unsettled or lost is left out, and the rest is what was last read, less what has left a window.";
    LEDGER_WRITABLE = Gauge "ledger_writable" &[],
        "Whether the last commit was written; when not, no payment is taken.";
}
