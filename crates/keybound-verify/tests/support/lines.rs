use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// Sends what is written, such as the lines of a decision log.
pub struct Lines(pub Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Several are written at once at times.
        for line in std::str::from_utf8(bytes).unwrap().lines() {
            // The test may have ended.
            let _ = self.0.send(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next line, a JSON object.
pub fn next(lines: &Receiver<String>) -> serde_json::Value {
    let line = lines.recv_timeout(Duration::from_secs(30)).unwrap();
    serde_json::from_str(&line).unwrap()
}
