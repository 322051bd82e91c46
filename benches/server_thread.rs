//! The daemon that verifies tokens, and other servers, each on a separate thread.
use crate::setting::daemon_config;
use keybound_verify::{Daemon, DecisionLog};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// A server in its thread, which runs until the end of the program.
pub struct ServerThread {
    /// Where it listens.
    pub socket: PathBuf,
    /// The folder in which the kernel counts the processor time of the thread.
    accounting: PathBuf,
}

impl ServerThread {
    /// The daemon for a proxy, with one API and without a log.
    pub fn daemon(folder: &Path, engine: &str) -> Self {
        Self::numbered_daemon(folder, engine, 0)
    }

    /// One of several daemons. The sockets of all but the first one end with their number.
    pub fn numbered_daemon(folder: &Path, engine: &str, number: usize) -> Self {
        let mut config = daemon_config(folder, engine);
        let mut socket = config.listen.unix.clone().expect("a Unix socket");
        if number > 0 {
            socket.as_mut_os_string().push(format!("-{number}"));
            config.listen.unix = Some(socket.clone());
        }
        Self::start(socket, async move {
            let again = config.clone();
            let extend = Arc::new(|_: &str, builder| builder);
            let load = move || Ok(again.clone());
            let daemon = Daemon::start(config, DecisionLog::none(), extend, load);
            Box::new(daemon.await.expect("a daemon"))
        })
    }

    /// Waits until the server listens.
    pub fn start<T: 'static>(
        socket: PathBuf,
        server: impl Future<Output = Box<T>> + Send + 'static,
    ) -> Self {
        let (sender, started) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("what a benchmark needs");
            runtime.block_on(async {
                let _server = server.await;
                let thread =
                    std::fs::read_link("/proc/thread-self").expect("what a benchmark needs");
                sender.send(thread).expect("what a benchmark needs");
                std::future::pending::<()>().await;
            });
        });
        let thread = started.recv().expect("what a benchmark needs");
        Self {
            socket,
            accounting: PathBuf::from("/proc").join(thread),
        }
    }

    /// What it has used until now.
    pub fn processor_time(&self) -> Duration {
        processor_time(&self.accounting)
    }
}

/// The processor time of a process of one thread, or of a thread, by its folder below `/proc`.
pub fn processor_time(accounting: &Path) -> Duration {
    let text = std::fs::read_to_string(accounting.join("schedstat")).expect("a process");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
