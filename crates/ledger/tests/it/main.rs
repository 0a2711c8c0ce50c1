//! The ledger's edges: files that are no ledgers, disks that fail, several handles on one file.

mod group;
mod payments;
mod take_over;
