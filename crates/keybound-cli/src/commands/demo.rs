//! The whole flow against the embedded emulator, printed as text or as one JSON object.
mod story;
mod theft;
mod world;

use crate::args::DemoArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{Document, ErrorReport};
use crate::session::run_to_end;
use crate::signals::{Received, Signals};
use crate::{json, out};
use story::Story;
use world::World;

/// Runs the flow, then sends the token without its key and with another key; succeeds only if the secret was read and both
/// thefts were refused.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    match run_to_end(run_demo()).and_then(|ended| ended) {
        Ok(End::Finished(story)) => print(args, &story),
        Ok(End::Stopped(received)) => Ok(Exit::Stopped(received)),
        Err(Failure::Flow(error)) if args.json => {
            let document = Document {
                error: Some(ErrorReport::new(&error)),
                ..Document::default()
            };
            out::line(&json::document(&document)?)?;
            Ok(Exit::Failed)
        }
        Err(failure) => Err(failure),
    }
}

/// How the demo ended.
enum End {
    Finished(Box<Story>),
    Stopped(Received),
}

/// The emulator stops and its folder is removed when this returns.
async fn run_demo() -> Result<End, Failure> {
    let mut signals = Signals::ending()?;
    let world = World::start()?;
    tokio::select! {
        story = Story::run(&world) => Ok(End::Finished(Box::new(story?))),
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
