use crate::args::{AttestationArgs, AttestationCommand, ProbeArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{ErrorReport, error_text};
use crate::text::printable_line;
use crate::{json, out, session};
use keybound::attestation::native::{LibraryTrust, NativeProbe, ProbedLibrary, ProbedPlace};
use serde::Serialize;

/// Runs `attestation`.
pub(crate) fn run(args: &AttestationArgs) -> Result<Exit, Failure> {
    match &args.command {
        AttestationCommand::Probe(args) => probe(args),
    }
}

fn probe(args: &ProbeArgs) -> Result<Exit, Failure> {
    let probe = session::native_attestation(&args.library).probe();
    if args.json {
        out::line(&json::document(&ProbeReport::new(&probe))?)?;
    } else {
        let text = text(&probe);
        if !text.is_empty() {
            out::line(&text)?;
        }
        if let Some(error) = &probe.failure {
            out::log(&error_text(error));
        }
    }
    Ok(match probe.failure {
        None => Exit::Success,
        Some(_) => Exit::Failed,
    })
}

/// The result of the probe as JSON.
#[derive(Debug, Serialize)]
struct ProbeReport {
    ready: bool,
    places: Vec<PlaceReport>,
    library: Option<LibraryReport>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct PlaceReport {
    place: &'static str,
    path: String,
    found: Option<bool>,
}

#[derive(Debug, Serialize)]
struct LibraryReport {
    path: String,
    sha256: String,
    trust: &'static str,
    signer: Option<String>,
    loaded: bool,
    started: bool,
}

impl ProbeReport {
    fn new(probe: &NativeProbe) -> Self {
        Self {
            ready: probe.failure.is_none(),
            places: probe.places.iter().map(PlaceReport::new).collect(),
            library: probe.library.as_ref().map(LibraryReport::new),
            error: probe.failure.as_ref().map(ErrorReport::new),
        }
    }
}

impl PlaceReport {
    fn new(place: &ProbedPlace) -> Self {
        Self {
            place: place.place.as_str(),
            path: place.path.to_string_lossy().into_owned(),
            found: place.found,
        }
    }
}

impl LibraryReport {
    fn new(library: &ProbedLibrary) -> Self {
        let (trust, signer) = match &library.trust {
            Some(LibraryTrust::SignedBy(signer)) => ("signed", Some(signer.clone())),
            Some(_) => ("pinned", None),
            None => ("refused", None),
        };
        Self {
            path: library.path.to_string_lossy().into_owned(),
            sha256: hex(&library.sha256),
            trust,
            signer,
            loaded: library.loaded,
            started: library.started,
        }
    }
}

fn text(probe: &NativeProbe) -> String {
    let mut lines: Vec<_> = probe.places.iter().map(place_line).collect();
    if let Some(library) = &probe.library {
        let report = LibraryReport::new(library);
        lines.push(format!("library: {}", printable_line(&report.path)));
        lines.push(format!("sha256:  {}", report.sha256));
        let trust = match &report.signer {
            Some(signer) => format!("signed by {}", printable_line(signer)),
            None => report.trust.to_owned(),
        };
        lines.push(format!("trust:   {trust}"));
        lines.push(format!("loaded:  {}", yes_or_no(report.loaded)));
        lines.push(format!("started: {}", yes_or_no(report.started)));
    }
    lines.join("\n")
}

fn place_line(place: &ProbedPlace) -> String {
    let state = match place.found {
        Some(true) => "found     ",
        Some(false) => "not there ",
        None => "not needed",
    };
    format!("{state} {}", printable_line(&place.path.to_string_lossy()))
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
