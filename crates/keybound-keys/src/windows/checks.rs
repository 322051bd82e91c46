//! Requirements of a key before it is used, regardless of which program created it.
use super::handle::Key;
use super::status::{Status, Step};
use super::windows_api::Property;
use crate::KeyError;
use crate::verify::{SELF_TEST_DIGEST, SELF_TEST_SCHEME};

/// Whether the key's provider may export its private part in any form. A missing policy is an error: every provider in use
/// sets one when it creates a key.
pub(crate) fn is_exportable(key: &Key) -> Result<bool, KeyError> {
    let policy = key
        .get(Property::ExportPolicy)
        .map_err(|status| Step::ReadExportPolicy.error(status, false))?;
    Ok(policy != [0; 4])
}

/// Whether the property is present, not empty, and its first byte not 0. A temporary failure is an error, not a reason to use
/// a weaker key.
pub(crate) fn is_isolated(key: &Key) -> Result<bool, KeyError> {
    match key.get(Property::VirtualIsolation) {
        Ok(value) => Ok(value.first().is_some_and(|first| *first != 0)),
        Err(status) if status.is_temporary() => Err(Step::ReadIsolation.error(status, true)),
        Err(_) => Ok(false),
    }
}

/// Signs the digest of the self-test: a key that is lost may still open by its name.
pub(crate) fn sign(key: &Key) -> Result<Vec<u8>, Status> {
    key.sign(SELF_TEST_SCHEME, &SELF_TEST_DIGEST)
}
