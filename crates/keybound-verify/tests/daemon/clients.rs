//! Load on the daemon.
use crate::fixture::{Sender, connect_unix};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::channel;
use tokio::task::JoinHandle;

/// Eight clients that send one request after another until they are stopped, each on its own connection.
pub struct Clients {
    ended: Arc<AtomicBool>,
    tasks: [JoinHandle<()>; 8],
}

impl Clients {
    /// Starts them, and waits for an answer to each. `send` sends one request, and panics when the answer is wrong.
    pub async fn start<S, F>(socket: PathBuf, send: S) -> Self
    where
        S: Fn(Sender) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Sender> + Send,
    {
        let ended = Arc::new(AtomicBool::new(false));
        let (answered, mut answers) = channel(8);
        let tasks = [(); 8].map(|()| {
            let (send, answered) = (send.clone(), answered.clone());
            let (socket, ended) = (socket.clone(), Arc::clone(&ended));
            tokio::spawn(async move {
                let mut sender = send(connect_unix(&socket).await).await;
                answered.send(()).await.unwrap();
                drop(answered);
                while !ended.load(Ordering::Relaxed) {
                    sender = send(sender).await;
                }
            })
        });
        // The last one is that of a client.
        drop(answered);
        for _ in &tasks {
            answers.recv().await.expect("a client failed");
        }
        Self { ended, tasks }
    }

    /// # Panics
    /// If an answer was wrong.
    pub async fn stop(self) {
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}
