//! Types that TLS libraries and their callers share: hosts, versions, the state of a connection, classes of errors.
mod connection_state;
mod engine;
mod error;
mod error_class;
mod host;
mod versions;

pub use connection_state::{ConnectionState, ServerCertificate};
pub use engine::TlsEngine;
pub use error::{TransportError, TransportErrorKind};
pub use error_class::{TlsErrorClass, is_certificate_alert};
pub use host::Host;
pub use versions::{TlsVersions, VersionPolicy};
