//! `obol wallet` as people and scripts use it. Terminals are taken and left with Linux's `setsid`.

#![cfg(target_os = "linux")]

mod balance;
mod commands;
mod home;
mod passwords;
mod programs;
mod settler;
