//! The whole flow against the embedded emulator, told as a story or as one JSON object.
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

/// Runs the flow, has the token stolen, and succeeds only if the secret was read and the thieves were refused.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    match run_to_end(play()).and_then(|ended| ended) {
        Ok(End::Told(story)) => tell(args, &story),
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

/// How it ended.
enum End {
    Told(Box<Story>),
    Stopped(Received),
}

/// Whichever way it ends, the world and the emulator's folder end with it.
async fn play() -> Result<End, Failure> {
    let mut signals = Signals::ending()?;
    let world = World::start()?;
    tokio::select! {
        story = Story::live(&world) => Ok(End::Told(Box::new(story?))),
        received = signals.next() => Ok(End::Stopped(received)),
    }
}

fn tell(args: &DemoArgs, story: &Story) -> Result<Exit, Failure> {
    match args.json {
        true => out::line(&json::document(story)?)?,
        false => out::line(&story.text())?,
    }
    match story.is_happy() {
        true => Ok(Exit::Success),
        false => Ok(Exit::Failed),
    }
}
