use crate::random_secret::RandomSecret;
use openssl::error::ErrorStack;

/// The secrets that requests to the sources contain in a header, new at each start.
#[derive(Debug)]
pub(crate) struct SourceSecrets {
    pub app_service: RandomSecret,
    pub service_fabric: RandomSecret,
    pub machine_learning: RandomSecret,
}

impl SourceSecrets {
    /// Creates the secrets.
    ///
    /// # Errors
    /// If the host returns no random bytes.
    pub fn new() -> Result<Self, ErrorStack> {
        Ok(Self {
            app_service: RandomSecret::new()?,
            service_fabric: RandomSecret::new()?,
            machine_learning: RandomSecret::new()?,
        })
    }
}
