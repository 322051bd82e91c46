//! The steps of the flows, one for each request of the protocol and each operation of the key.
mod assertion;
mod attestation;
mod compute_document;
mod credential;
mod csr;
mod error_response;
mod exchange;
mod imds_server;
mod key;
mod metadata;
mod probe;
mod send;
mod source;
mod token;
