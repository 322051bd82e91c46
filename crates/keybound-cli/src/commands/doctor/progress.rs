//! Which checks are waited for, on a terminal.
use keybound_core::lock;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::Duration;

/// The running checks.
#[derive(Debug, Default)]
pub(super) struct Progress {
    running: Mutex<Vec<&'static str>>,
}

/// A check that runs until this value is dropped.
pub(super) struct Running<'a>(&'a Progress, &'static str);

impl Progress {
    pub(super) fn enter(&self, name: &'static str) -> Running<'_> {
        lock(&self.running).push(name);
        Running(self, name)
    }

    /// Runs `work`, and names the running checks on standard error from its second second on, if that is a terminal.
    pub(super) async fn report_during<T>(&self, work: impl Future<Output = T>) -> T {
        if !io::stderr().is_terminal() {
            return work.await;
        }
        let mut shown = Shown(false);
        self.call_during(work, |text| shown.show(text)).await
    }

    /// Runs `work`, and calls `show` each second.
    async fn call_during<T>(&self, work: impl Future<Output = T>, mut show: impl FnMut(&str)) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(INTERVAL, work.as_mut()).await {
                Ok(done) => return done,
                Err(_) => show(&self.text()),
            }
        }
    }

    fn text(&self) -> String {
        format!("waiting for {}", lock(&self.running).join(", "))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut running = lock(&self.0.running);
        if let Some(position) = running.iter().position(|name| *name == self.1) {
            running.remove(position);
        }
    }
}

/// The line of the terminal; removed at the end.
struct Shown(bool);

impl Shown {
    fn show(&mut self, text: &str) {
        self.0 = true;
        write(&format!("\r{text:<WIDTH$.WIDTH$}"));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.0 {
            write(&format!("\r{:WIDTH$}\r", ""));
        }
    }
}

/// Errors are ignored: the report matters.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

const INTERVAL: Duration = Duration::from_secs(1);
/// A line of this length is not wrapped.
const WIDTH: usize = 79;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_running_checks_each_second() {
        let progress = Progress::default();
        let work = async {
            let _imds = progress.enter("imds");
            {
                let _tls = progress.enter("tls");
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            7
        };
        let mut shown = Vec::new();
        let done = progress
            .call_during(work, |text| shown.push(text.to_owned()))
            .await;
        assert_eq!(done, 7);
        assert_eq!(shown, ["waiting for imds, tls", "waiting for imds"]);
        assert!(lock(&progress.running).is_empty());
    }
}
