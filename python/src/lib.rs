//! The native module of the Python package `keybound`. Its interface is private to the package (`keybound/_native.pyi`).
mod access_token;
mod arguments;
mod attestation;
mod binding_certificate;
mod capabilities;
mod certificate_identity;
mod client;
#[cfg(feature = "emulator")]
mod emulator;
mod error;
mod fork_bound;
mod interpreter;
mod log;
mod operation;
mod process;
#[cfg(feature = "emulator")]
mod ready_file;
mod records;
mod request;
mod resource;
mod response;
mod settings;
#[cfg(windows)]
mod stored_certificate;
mod time;
mod upload;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::{
        access_token::AccessToken,
        attestation::attest_key,
        binding_certificate::BindingCertificate,
        client::Client,
        log::wait_for_records,
        operation::Operation,
        process::{after_fork, shut_down},
        request::Request,
        resource::Resource,
        response::RawResponse,
        settings::check_identity,
        upload::Upload,
    };
    #[cfg(feature = "emulator")]
    #[pymodule_export]
    use super::{emulator::Emulator, ready_file::ReadyFile};

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        interpreter::admit(module.py())?;
        log::install();
        Ok(())
    }
}
