//! One file for each command.
pub(crate) mod attestation;
pub(crate) mod call;
pub(crate) mod capabilities;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod emulator;
pub(crate) mod get_token;
pub(crate) mod man;
pub(crate) mod selftest;
pub(crate) mod verify;
