//! The whole flow against the embedded emulator, told as a story or as one JSON object.
mod story;
mod theft;
mod world;

use crate::args::DemoArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{Document, ErrorReport};
use crate::session::run_to_end;
use crate::{json, out};
use story::Story;
use world::World;

/// Runs the flow, has the token stolen, and succeeds only if the secret was read and the thieves were refused.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    match play() {
        Ok(story) => tell(args, &story),
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

fn play() -> Result<Story, Failure> {
    let world = World::start()?;
    run_to_end(Story::live(&world))?
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
