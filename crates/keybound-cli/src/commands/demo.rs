//! The whole flow against the embedded emulator, printed as text or as one JSON object.
mod services;
mod story;
mod theft;

use super::get_token::failed;
use crate::args::DemoArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::run_to_end;
use crate::signals::{Received, Signals};
use crate::{json, out, signals};
use services::Services;
use story::Story;

/// Runs the flow, then sends the token without its key and with another key. Succeeds only if the secret was read and both thefts
/// were refused.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    match run_to_end(run_demo()).and_then(|end| end) {
        Ok(End::Finished(story)) => print(args, &story),
        Ok(End::Stopped(received)) => Ok(Exit::Stopped(received)),
        Err(Failure::Flow(error)) if args.json => failed(&error),
        Err(failure) => Err(failure),
    }
}

/// How the demo ended.
enum End {
    Finished(Box<Story>),
    Stopped(Received),
}

/// The emulator stops and its directory is removed when this returns.
async fn run_demo() -> Result<End, Failure> {
    let mut signals = Signals::ending().map_err(signals::failure)?;
    let services = Services::start()?;
    tokio::select! {
        story = Story::run(&services) => Ok(End::Finished(Box::new(story?))),
        received = signals.next() => Ok(End::Stopped(received)),
    }
}

fn print(args: &DemoArgs, story: &Story) -> Result<Exit, Failure> {
    match args.json {
        true => out::line(&json::document(story)?)?,
        false => out::line(&story.text())?,
    }
    match story.is_success() {
        true => Ok(Exit::Success),
        false => Ok(Exit::Failed),
    }
}
