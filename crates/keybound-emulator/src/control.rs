use crate::exchange::{Answer, not_found};
use crate::state::State;
use bytes::Bytes;

pub(crate) fn answer(state: &State, request: &http::Request<Bytes>) -> Answer {
    let _ = (state, request);
    not_found()
}
