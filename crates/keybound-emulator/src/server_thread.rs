use crate::listeners::Listeners;
use crate::server::Server;
use crate::service_handler::ServiceHandler;
use crate::start_error::StartError;
use crate::state::{Keys, State};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The thread that serves all listeners, on its own runtime.
pub(crate) struct ServerThread {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl ServerThread {
    /// Returns when all services listen. The runtime is created and dropped on the thread, since it cannot be dropped in an
    /// asynchronous caller.
    pub fn start(listeners: Listeners, state: &Arc<State>) -> Result<Self, StartError> {
        let (ready, started) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let state = state.clone();
        let serve = move || match prepare(listeners, &state) {
            Ok((runtime, servers)) => {
                let _ = ready.send(Ok(()));
                run(runtime, servers, state.keys.clone(), stopped);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new()
            .name("keybound-emulator".into())
            .spawn(serve)
            .map_err(StartError::Host)?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self { stop, thread }),
            Ok(Err(error)) => Err(StartError::Host(error)),
            Err(ended) => Err(StartError::Host(io::Error::other(ended))),
        }
    }

    pub fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread has been reported already.
        let _ = self.thread.join();
    }
}

fn prepare(
    listeners: Listeners,
    state: &Arc<State>,
) -> io::Result<(Runtime, Vec<Server<ServiceHandler>>)> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let entered = runtime.enter();
    let serve = |(service, listener)| {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        ServiceHandler::new(state.clone(), service).server(listener)
    };
    let servers = listeners
        .0
        .into_iter()
        .map(serve)
        .collect::<io::Result<_>>()?;
    drop(entered);
    Ok((runtime, servers))
}

/// Serves until `stopped` receives a value or its sender is dropped.
fn run(
    runtime: Runtime,
    servers: Vec<Server<ServiceHandler>>,
    keys: Keys,
    stopped: oneshot::Receiver<()>,
) {
    for server in servers {
        runtime.spawn(server.run());
    }
    runtime.spawn(async move { keys.create().await });
    let _ = runtime.block_on(stopped);
    // Pending work is cancelled; a key that is being generated is not awaited.
    runtime.shutdown_background();
}
