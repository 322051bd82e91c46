//! The daemon, and a server that checks nothing, each on a separate thread.
use super::unchecked::{Answer, serve};
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer};
use keybound_verify::{Config, Daemon, DecisionLog};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};
use tokio::net::UnixListener;

/// An issuer, and a folder for its keys and for sockets.
pub struct Setting {
    pub issuer: TestIssuer,
    folder: tempfile::TempDir,
}

impl Setting {
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the daemon has this clock")]
        let issuer = TestIssuer::new(SystemTime::now());
        let folder = tempfile::tempdir().unwrap();
        let keys = issuer.key_file().to_string();
        std::fs::write(folder.path().join("keys.json"), keys).unwrap();
        Self { issuer, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A server in its thread, which runs until the end of the program.
pub struct ServerThread {
    pub socket: PathBuf,
    /// The file in which the kernel counts the processor time of the thread.
    accounting: PathBuf,
}

impl ServerThread {
    pub fn daemon(folder: &Path, protocol: &str) -> Self {
        let socket = folder.join(format!("daemon-{protocol}"));
        let engine = if protocol == "grpc" { "envoy" } else { "nginx" };
        let config = format!(
            "[listen]\nunix = {socket:?}\n[proxy]\nengine = \"{engine}\"\n[keys]\nfile = {:?}\n[log]\ndecisions = \"none\"\n[[api]]\nhosts = [\"orders.contoso.com\"]\naudiences = [\"{RESOURCE}\"]\ntenants = [\"{TENANT}\"]\n",
            folder.join("keys.json"),
        );
        let config = Config::from_toml(&config).unwrap();
        Self::start(socket, async move {
            let again = config.clone();
            let extend = Arc::new(|_: &str, builder| builder);
            let load = move || Ok(again.clone());
            let daemon = Daemon::start(config, DecisionLog::none(), extend, load);
            Box::new(daemon.await.unwrap())
        })
    }

    pub fn unchecked(folder: &Path, protocol: &str, answer: Answer) -> Self {
        let socket = folder.join(format!("unchecked-{protocol}"));
        let listener = socket.clone();
        let is_grpc = protocol == "grpc";
        Self::start(socket, async move {
            let listener = UnixListener::bind(listener).unwrap();
            tokio::spawn(serve(listener, is_grpc, answer));
            Box::new(())
        })
    }

    /// Waits until the server listens.
    fn start<T: 'static>(
        socket: PathBuf,
        server: impl Future<Output = Box<T>> + Send + 'static,
    ) -> Self {
        let (sender, started) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let _server = server.await;
                let thread = std::fs::read_link("/proc/thread-self").unwrap();
                sender.send(thread).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let thread = started.recv().unwrap();
        Self {
            socket,
            accounting: PathBuf::from("/proc").join(thread).join("schedstat"),
        }
    }

    pub fn processor_time(&self) -> Duration {
        let text = std::fs::read_to_string(&self.accounting).unwrap();
        let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
        Duration::from_nanos(nanoseconds)
    }
}
