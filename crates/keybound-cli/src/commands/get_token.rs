use crate::args::{GetTokenArgs, TokenOutput};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{Document, ErrorReport, TokenReport, claims_text};
use crate::session::{Session, run_to_end};
use crate::{json, out, steps};
use keybound::{AccessToken, Error};

/// Gets a token and prints it.
pub(crate) fn run(args: &GetTokenArgs) -> Result<Exit, Failure> {
    let steps = steps::log(args.token.verbose, "keybound");
    let result = Session::new(&args.token, steps, None, None).and_then(|session| {
        let token = run_to_end(session.acquire())??;
        print(args, &session, &token)
    });
    match result {
        Err(Failure::Flow(error)) if args.output == TokenOutput::Json => failed(&error),
        other => other,
    }
}

fn print(args: &GetTokenArgs, session: &Session, token: &AccessToken) -> Result<Exit, Failure> {
    let report = TokenReport::new(token, session.elapsed(), args.token.show_full_token)?;
    if args.token.verbose > 0 {
        out::log(&claims_text(token));
    }
    match args.output {
        TokenOutput::Text => out::line(&report.text())?,
        TokenOutput::Token => out::line(token.secret().expose())?,
        TokenOutput::Json => out::line(&json::document(&Document {
            token: Some(report),
            ..Document::default()
        })?)?,
    }
    Ok(Exit::Success)
}

/// Prints a failed flow as JSON.
pub(crate) fn failed(error: &Error) -> Result<Exit, Failure> {
    let document = Document {
        error: Some(ErrorReport::new(error)),
        ..Document::default()
    };
    out::line(&json::document(&document)?)?;
    Ok(Exit::Failed)
}
