//! The ledger's edges: files that are no ledgers, disks that fail, several handles on one file.

mod asking;
mod batches;
mod books;
mod clocks;
mod disk;
mod evidence;
mod group;
mod holds;
mod objections;
mod opening;
mod payments;
mod permissions;
mod reading;
mod sharing;
mod take_over;
