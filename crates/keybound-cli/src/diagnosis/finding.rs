use crate::report::error_next_step;
use keybound::Error;

/// What a check found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) detail: String,
    /// What to do about a warning or a problem.
    pub(crate) next_step: Option<String>,
    /// The error of the library, if it is the reason.
    pub(crate) error: Option<Error>,
    /// Whether the detail says all that the error says.
    pub(crate) omits_error: bool,
}

/// The judgement of a finding, in the order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The check does not apply, or what it depends on failed.
    Skipped,
    Ok,
    /// It works, but a change is advisable, or another program may fail.
    Warning,
    /// Tokens as requested do not work.
    Problem,
}

impl Level {
    /// The name in results.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    pub(crate) fn ok(detail: impl Into<String>) -> Self {
        Self::new(Level::Ok, detail, None, None)
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self::new(Level::Skipped, why, None, None)
    }

    pub(crate) fn warning(detail: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::new(Level::Warning, detail, Some(next_step.into()), None)
    }

    pub(crate) fn problem(detail: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::new(Level::Problem, detail, Some(next_step.into()), None)
    }

    /// A problem that the library reported, with the next step of its error.
    pub(crate) fn failed(detail: impl Into<String>, error: Error) -> Self {
        let next_step = error_next_step(&error);
        Self::new(Level::Problem, detail, Some(next_step), Some(error))
    }

    /// The same, with a detail that says all that the error says.
    pub(crate) fn without_error(self) -> Self {
        Self {
            omits_error: true,
            ..self
        }
    }

    /// The same with another next step than that of the error.
    pub(crate) fn with_next_step(self, next_step: impl Into<String>) -> Self {
        Self {
            next_step: Some(next_step.into()),
            ..self
        }
    }

    /// The same as a warning.
    pub(crate) fn into_warning(self) -> Self {
        Self {
            level: self.level.min(Level::Warning),
            ..self
        }
    }

    fn new(
        level: Level,
        detail: impl Into<String>,
        next_step: Option<String>,
        error: Option<Error>,
    ) -> Self {
        Self {
            level,
            detail: detail.into(),
            next_step,
            error,
            omits_error: false,
        }
    }
}
