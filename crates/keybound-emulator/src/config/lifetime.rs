use super::ConfigError;

/// Checks that a lifetime is between one minute and a maximum, in seconds.
pub(super) fn check_lifetime(key: &str, seconds: u32, maximum: u32) -> Result<(), ConfigError> {
    if (60..=maximum).contains(&seconds) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{key}: {seconds} is not between 60 and {maximum}"
    )))
}

pub(super) const DAY: u32 = 24 * 3600;
pub(super) const YEAR: u32 = 365 * DAY;
