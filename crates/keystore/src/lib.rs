//! Private keys on disk, encrypted under a password: Web3 Secret Storage, version 3, the files of
//! geth, Foundry's `cast` and most wallets.
//!
//! What is secret is wiped from memory when it is dropped, as far as that goes: scrypt's own
//! memory, and what the compiler moves about, is not.

mod cost;
mod file;
mod folder;
mod sealed;
mod secret;

pub use cost::{CostError, MAX_MEMORY, MAX_ROUNDS, MAX_WORK, MIN_N, MIN_ROUNDS, MIN_WORK};
pub use file::{FormatError, MAX_FILE};
pub use folder::{Entry, Folder, Name, NameError, ReadError, StoreError, read};
pub use sealed::{OpenError, Sealed};
pub use secret::{EmptyPassword, NoRandomness, Password, Secret};
