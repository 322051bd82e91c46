//! A run of the program on a terminal.
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

/// The exit status, and what the program writes to its standard output, a pseudoterminal.
pub fn run(command: &mut Command) -> (Option<i32>, String) {
    let (mut end, device) = open();
    command.stdout(device).stderr(Stdio::null());
    let mut child = super::spawn(command);
    // Closes this process's copy of the device: the reader reaches the end with the program.
    command.stdout(Stdio::null());
    let mut shown = Vec::new();
    // Linux reports the end as an error.
    let _ = end.read_to_end(&mut shown);
    let status = child.wait().unwrap().code();
    (status, String::from_utf8(shown).unwrap())
}

/// Interrupts the program, as Ctrl-C does, when its standard error, a pseudoterminal, shows this text. Returns the exit status, and
/// all that it shows.
pub fn interrupt(command: &mut Command, text: &str) -> (Option<i32>, String) {
    let (mut end, device) = open();
    command.stderr(device).stdout(Stdio::null());
    let mut child = super::spawn(command);
    command.stderr(Stdio::null());
    let id = Pid::from_child(&child);
    let mut shown = String::new();
    let mut is_interrupted = false;
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = end.read(&mut part) {
        shown.push_str(std::str::from_utf8(&part[..length]).unwrap());
        if !is_interrupted && shown.contains(text) {
            is_interrupted = true;
            kill_process(id, Signal::INT).unwrap();
        }
    }
    (child.wait().unwrap().code(), shown)
}

/// A pseudoterminal: this process's end, and the device.
fn open() -> (File, File) {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let device = ptsname(&end, Vec::new()).unwrap().into_string().unwrap();
    let device = File::options().read(true).write(true).open(device).unwrap();
    (end.into(), device)
}
