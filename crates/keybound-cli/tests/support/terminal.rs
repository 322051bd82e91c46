//! A run of the program with standard output on a terminal.
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

/// The exit status, and what the program writes to its standard output, a pseudoterminal.
pub fn run(command: &mut Command) -> (Option<i32>, String) {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let device = ptsname(&end, Vec::new()).unwrap().into_string().unwrap();
    let device = File::options().read(true).write(true).open(device).unwrap();
    command.stdout(device).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Closes this process's copy of the device: the reader reaches the end with the program.
    command.stdout(Stdio::null());
    let mut shown = Vec::new();
    // Linux reports the end as an error.
    let _ = File::from(end).read_to_end(&mut shown);
    let status = child.wait().unwrap().code();
    (status, String::from_utf8(shown).unwrap())
}
