use crate::faults::Fault;
use keybound_core::Guid;
use serde::{Deserialize, Deserializer, de::Error as _};

pub(super) fn guid<'de, D: Deserializer<'de>>(from: D) -> Result<Guid, D::Error> {
    let text = String::deserialize(from)?;
    Guid::parse(&text).ok_or_else(|| D::Error::custom("expected a GUID of 36 characters"))
}

pub(super) fn faults<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Fault>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    Fault::parse_all(&texts).map_err(D::Error::custom)
}
