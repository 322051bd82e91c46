//! What a TLS library and its caller share: hosts, versions, limits of a connection, classes of errors.
mod engine;
mod error;
mod error_class;
mod host;
mod session;
mod versions;

pub use engine::TlsEngine;
pub use error::{TransportError, TransportErrorKind};
pub use error_class::{TlsErrorClass, is_certificate_alert};
pub use host::Host;
pub use session::SessionNotes;
pub use versions::{TlsVersions, VersionPolicy};
