use clap::{ArgAction, Args, ValueEnum};
use keybound_emulator::{Fault, Source};
use std::ffi::OsString;
use std::path::PathBuf;

/// Run simulated IMDS, attestation, Entra, Key Vault and Graph on loopback
///
/// Further services simulate the other sources of bearer tokens: App Service, Container Apps, Service Fabric, Azure Arc, Machine
/// Learning and Cloud Shell. All reject what Azure's reject, and inject faults on demand. Their certificates and attestation tokens prove
/// nothing: the emulator is for tests and development. The first line on standard output is a JSON object: {"event":"ready",
/// the URLs, ca_file, env}. They run until SIGINT, SIGTERM or SIGHUP; on Windows until Ctrl-C or Ctrl-Break, or until the
/// console is closed.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct EmulatorArgs {
    /// Read tenant, identities, lifetimes, secrets and faults from this TOML file; unknown keys are errors
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Inject a fault: LEG=ACTION[:ARG][*COUNT], such as token=status:503*2; may be repeated
    #[arg(long = "fault", value_name = "LEG=ACTION")]
    pub(crate) faults: Vec<Fault>,

    /// Whether a certificate needs an attested key
    #[arg(long, value_name = "RULE", value_enum)]
    pub(crate) attestation: Option<AttestationChoice>,

    /// Also accept signing requests in the form of the Python implementation
    #[arg(long)]
    pub(crate) lenient_csr: bool,

    /// Store the CA in this directory; without it, a new CA is created and removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Also write the ready line to this file, which is removed at the end; it holds the control endpoint's secret
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,

    /// Write Azure Arc's key files to this directory, which is created if absent. Azure's client libraries accept
    /// /var/opt/azcmagent/tokens only. Default: a temporary directory; with --exec and --source arc one at that path, for the command only
    #[arg(long, value_name = "DIR")]
    pub(crate) arc_tokens_dir: Option<PathBuf>,

    /// Port of IMDS; 0 selects a free one
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) imds_port: Option<u16>,

    /// Port of Entra's token service
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) sts_port: Option<u16>,

    /// Port of the attestation service
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) maa_port: Option<u16>,

    /// Port of the simulated Key Vault
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) vault_port: Option<u16>,

    /// Port of the simulated Graph
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) graph_port: Option<u16>,

    /// Port of App Service's and Container Apps' identity endpoint
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) app_service_port: Option<u16>,

    /// Port of Service Fabric's identity endpoint
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) service_fabric_port: Option<u16>,

    /// Port of Azure Arc's agent
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) arc_port: Option<u16>,

    /// Port of Machine Learning's identity endpoint
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) machine_learning_port: Option<u16>,

    /// Port of Cloud Shell's token endpoint
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) cloud_shell_port: Option<u16>,

    /// Port of the control endpoint
    #[arg(long, value_name = "PORT", help_heading = "Ports (default: free ones)")]
    pub(crate) control_port: Option<u16>,

    /// Log each request to standard error; -vv logs more
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Run the command after `--` with the emulator's environment, and exit with its status. The ready line is
    /// then not printed to standard output, but written to --ready-file and, with -v, to standard error
    #[arg(long, requires = "command")]
    pub(crate) exec: bool,

    /// The source whose environment the command of --exec gets: imds, app-service, container-apps, service-fabric, arc,
    /// machine-learning or cloud-shell
    #[arg(
        long,
        value_name = "NAME",
        requires = "exec",
        default_value = "imds",
        hide_default_value = true
    )]
    pub(crate) source: Source,

    /// The command of --exec and its arguments
    #[arg(last = true, value_name = "CMD", requires = "exec")]
    pub(crate) command: Vec<OsString>,
}

/// Whether a certificate needs an attested key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttestationChoice {
    /// Reject a request without an attestation token
    Required,
    /// Accept a request without one
    Optional,
}

const AFTER_HELP: &str = "\
Examples:
  keybound emulator                                 prints the ready line, runs until stopped
  keybound emulator --exec -- keybound call --simulated
  keybound emulator --exec -- cargo test
  keybound emulator --source app-service --exec -- python3 app.py
  keybound emulator --fault token=status:503*2 --fault vault=delay:2000 -v
  keybound emulator --config identities.toml --state-dir ~/.keybound

--exec sets these variables, which are also in the ready line: the address of IMDS
(AZURE_POD_IDENTITY_AUTHORITY_HOST), the CA (KEYBOUND_CA_FILE), the URLs of the services, and
those by which client libraries detect the source (IDENTITY_ENDPOINT, MSI_ENDPOINT, …); those of
other sources are removed.

With --exec, signals that are sent to the emulator are forwarded to the command; those of a
terminal reach it once. The ready file exists only while the services listen; a device, a FIFO
or a descriptor (/dev/stderr) is written to.

Exit codes: 0 SIGINT, SIGTERM or SIGHUP stopped it, 1 it could not start, 2 wrong usage, 128 + N
another signal N ended it; with --exec those of the command, 128 + N if signal N ended it,
127 if it is not found, 126 if it cannot be run.";
