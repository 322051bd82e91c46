//! What a daemon and its clients need.
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer, TokenRecipe};
use keybound_testing::{Authority, Leaf};
use keybound_verify::Config;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An issuer, and a folder for its keys and for sockets.
pub struct Setting {
    /// Its tokens are valid now.
    pub issuer: TestIssuer,
    folder: tempfile::TempDir,
}

impl Setting {
    /// A new issuer in a new folder.
    pub fn create() -> Self {
        let issuer = new_issuer();
        let folder = tempfile::tempdir().expect("what a benchmark needs");
        let keys = issuer.key_file().to_string();
        fs::write(folder.path().join("keys.json"), keys).expect("what a benchmark needs");
        Self { issuer, folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes the files of a new issuer into a folder: its keys for the daemon and the configuration of the daemon, the certificates and keys
/// of the proxy and of a client, and a token that is bound to the latter.
///
/// # Errors
/// If a file cannot be written, or there is no such proxy.
pub fn write_files(folder: &Path, engine: &str) -> io::Result<()> {
    let config = daemon_config_text(folder, engine);
    Config::from_toml(&config).map_err(io::Error::other)?;
    let issuer = new_issuer();
    fs::create_dir_all(folder)?;
    fs::write(folder.join("keys.json"), issuer.key_file().to_string())?;
    fs::write(folder.join("verify.toml"), config)?;
    write_leaf(folder, "client", issuer.certificates.leaf("client"))?;
    let authority = Authority::new("servers");
    write_leaf(folder, "server", &authority.server(HOST))?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("token"), TokenRecipe::default().make(&issuer))
}

/// Writes a certificate and its key.
///
/// # Errors
/// If a file cannot be written.
pub fn write_leaf(folder: &Path, name: &str, leaf: &Leaf) -> io::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (
        folder.join(format!("{name}.pem")),
        folder.join(format!("{name}.key")),
    );
    fs::write(&certificate, leaf.certificate.to_pem()?)?;
    fs::write(&key, leaf.key.private_key_to_pem_pkcs8()?)?;
    Ok((certificate, key))
}

/// The configuration of the daemon.
pub fn daemon_config(folder: &Path, engine: &str) -> Config {
    Config::from_toml(&daemon_config_text(folder, engine)).expect("a configuration")
}

fn daemon_config_text(folder: &Path, engine: &str) -> String {
    format!(
        "[listen]\nunix = {:?}\nmode = 0o666\n[proxy]\nengine = \"{engine}\"\n[keys]\nfile = {:?}\n[log]\ndecisions = \"none\"\n[[api]]\nhosts = [\"{HOST}\"]\naudiences = [\"{RESOURCE}\"]\ntenants = [\"{TENANT}\"]\n",
        folder.join(format!("daemon-{engine}")),
        folder.join("keys.json"),
    )
}

fn new_issuer() -> TestIssuer {
    #[expect(clippy::disallowed_methods, reason = "the daemon has this clock")]
    TestIssuer::new(SystemTime::now())
}

/// The host of the API.
pub const HOST: &str = "orders.contoso.com";
