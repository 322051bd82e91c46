//! Tests of the public interface with real keys, signatures and certificates.
#![cfg(test)]

mod binding;
mod certificate;
mod credential;
mod csr;
mod support;
