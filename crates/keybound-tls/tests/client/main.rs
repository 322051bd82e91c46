//! The HTTPS client against servers in this process.
#[path = "../support/mod.rs"]
mod support;

mod authentication;
