use crate::exchange::{Answer, Call, not_found};
use crate::state::State;

pub(crate) async fn answer(state: &State, call: &mut Call) -> Answer {
    let _ = (state, call);
    not_found()
}

pub(crate) const SERVER: &str = "IMDS/150.870.65.1854";
