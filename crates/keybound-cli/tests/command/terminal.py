"""Runs `emulator --exec` in a new terminal, as a shell with job control does, and checks what its command receives.

    terminal.py CASE KEYBOUND
"""
import fcntl
import os
import pathlib
import pty
import select
import signal
import socket
import struct
import sys
import termios
import time

CASE, KEYBOUND = sys.argv[1:]
REPORT = pathlib.Path(__file__).with_name("report_signals.py")
INTERRUPT, QUIT, SUSPEND = b"\x03", b"\x1c", b"\x1a"
MAX_WAIT = 60
# Process ids that are not waited for before the end of the case.
STARTED = []


def main():
    try:
        globals()[CASE]()
    except BaseException:
        # Stopped processes too; the command is killed with the emulator.
        for process in STARTED:
            os.kill(process, signal.SIGKILL)
        raise


def keys_reach_the_command_once():
    job = Job(REPORT, "INT,QUIT,WINCH,USR1")
    for _ in range(5):
        # SIGUSR1 is forwarded after all earlier signals.
        job.press(INTERRUPT)
        job.prints("SIGINT kernel")
        job.signal(signal.SIGUSR1)
        job.prints("SIGUSR1 parent")
        job.press(QUIT)
        job.prints("SIGQUIT kernel")
        job.signal(signal.SIGUSR1)
        job.prints("SIGUSR1 parent")
    job.resize()
    job.prints("SIGWINCH kernel")
    job.signal(signal.SIGTERM)
    job.prints("SIGTERM parent")
    assert job.status() == 9


def a_command_in_a_group_of_its_own_receives_keys_too():
    job = Job("-c", f"import os; os.setpgid(0, 0); exec(open({str(REPORT)!r}).read())", "INT,QUIT")
    job.press(INTERRUPT)
    job.prints("SIGINT parent")
    job.press(QUIT)
    job.prints("SIGQUIT parent")
    job.signal(signal.SIGTERM)
    job.prints("SIGTERM parent")
    assert job.status() == 9


def a_hangup_reaches_the_command_of_the_leader():
    """Without a shell, as with `ssh -t`: the kernel sends SIGHUP to the leader of the session only."""
    outcome = os.pipe()
    script = f"import os, sys; os.dup2({outcome[1]}, 1); exec(open({str(REPORT)!r}).read())"
    process, terminal = pty.fork()
    if process == 0:
        os.set_inheritable(outcome[1], True)
        os.execv(KEYBOUND, [KEYBOUND, "emulator", "--exec", "--", sys.executable, "-c", script, "HUP"])
    STARTED.append(process)
    os.close(outcome[1])
    lines = Lines(outcome[0])
    lines.next("up")
    os.close(terminal)
    lines.next("SIGHUP parent")
    os.kill(process, signal.SIGTERM)
    lines.next("SIGTERM parent")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9


def a_job_stops_and_continues_with_its_command():
    job = Job(REPORT, "CONT,USR1")
    for _ in range(10):
        job.press(SUSPEND)
        job.is_stopped()
        assert state(job.command) == "T"
        # As `fg` does, to the whole group.
        job.signal_group(signal.SIGCONT)
        job.prints("SIGCONT other")
        job.signal(signal.SIGUSR1)
        job.prints("SIGUSR1 parent")
        # A signal to the emulator stops or continues both.
        job.signal(signal.SIGTSTP)
        job.is_stopped()
        wait_until(lambda: state(job.command) == "T")
        job.signal(signal.SIGCONT)
        job.prints("SIGCONT parent")
        job.signal(signal.SIGUSR1)
        job.prints("SIGUSR1 parent")
    job.signal(signal.SIGTERM)
    job.prints("SIGTERM parent")
    assert job.status() == 9


def a_command_that_stops_itself_gives_the_terminal_back():
    stops = "import os, signal; os.kill(os.getpid(), signal.SIGTSTP); print('on', flush=True)"
    job = Job("-c", stops, "", prints_up=False)
    job.is_stopped()
    job.signal(signal.SIGCONT)
    job.prints("on")
    assert job.status() == 0


def a_suspend_without_a_shell_stops_no_process():
    """As in a container, where nothing would continue it."""
    process, lines = without_shell(REPORT, "USR1")
    lines.next("up")
    os.write(lines.descriptor, SUSPEND)
    os.kill(process, signal.SIGUSR1)
    lines.next("SIGUSR1 parent")
    os.kill(process, signal.SIGTERM)
    lines.next("SIGTERM parent")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9


def a_command_that_stops_itself_without_a_shell_stops_nothing_else():
    """The kernel stops the command, since it has changed its group, and the emulator could continue it."""
    stops = "import os, signal; os.setpgid(0, 0); print(os.getpid()); os.kill(os.getpid(), signal.SIGTSTP); print('on')"
    process, lines = without_shell("-u", "-c", stops)
    command = lines.next("").strip()
    wait_until(lambda: state(command) == "T")
    # When the second signal is forwarded, the stop has been handled too.
    for number in signal.SIGUSR1, signal.SIGUSR2:
        os.kill(process, number)
        wait_until(lambda: pending(command) & 1 << number - 1)
    assert os.waitpid(process, os.WNOHANG | os.WUNTRACED) == (0, 0)
    os.kill(process, signal.SIGCONT)
    os.waitpid(process, 0)


def without_shell(*arguments):
    """Starts the emulator with a Python program as the leader of a session."""
    process, terminal = pty.fork()
    if process == 0:
        silence(0)
        os.execv(KEYBOUND, [KEYBOUND, "emulator", "--exec", "--", sys.executable, *map(str, arguments)])
    STARTED.append(process)
    return process, Lines(terminal)


def state(process):
    """The state of a process as a letter: `T` is stopped."""
    return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def pending(process):
    """The pending signals of a process, as a mask."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(status.partition("ShdPnd:")[2].split()[0], 16)


def wait_until(condition):
    until = time.monotonic() + MAX_WAIT
    while not condition():
        assert time.monotonic() < until
        os.sched_yield()


def a_signal_of_the_kernel_that_is_not_of_the_terminal_is_forwarded():
    """Only the emulator receives it, as SIGALRM after `alarm` and `exec`."""
    job = Job(REPORT, "IO")
    ours, peer = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETOWN, job.process)
    fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | fcntl.FASYNC)
    peer.send(b"x")
    # SIGIO has two names.
    job.prints("SIGPOLL parent" if signal.SIGIO.name == "SIGPOLL" else "SIGIO parent")
    job.signal(signal.SIGTERM)
    job.prints("SIGTERM parent")
    assert job.status() == 9


def silence(terminal):
    """Turns the echo off, so that only the command writes."""
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)


class Job:
    """The emulator with a Python program, in the foreground of a terminal whose shell is this process."""

    def __init__(self, *arguments, prints_up=True):
        self.terminal, tty = pty.openpty()
        silence(tty)
        if os.getsid(0) != os.getpid():
            os.setsid()
        fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        self.process = os.fork()
        if self.process == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(tty, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            for standard in range(3):
                os.dup2(tty, standard)
            os.execv(KEYBOUND, [KEYBOUND, "emulator", "--exec", "--", sys.executable, *map(str, arguments)])
        STARTED.append(self.process)
        self.lines = Lines(self.terminal)
        if prints_up:
            _, self.command, _ = self.lines.next("up").split()

    def press(self, key):
        os.write(self.terminal, key)

    def resize(self):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("4H", 50, 100, 0, 0))

    def prints(self, line):
        self.lines.next(line)

    def signal(self, number):
        os.kill(self.process, number)

    def signal_group(self, number):
        os.killpg(self.process, number)

    def is_stopped(self):
        _, status = os.waitpid(self.process, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


class Lines:
    """The lines that are read from a descriptor."""

    def __init__(self, descriptor):
        self.descriptor, self.buffer = descriptor, b""

    def next(self, start):
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.descriptor], [], [], MAX_WAIT)
            assert ready, f"no line, expected {start!r}"
            self.buffer += os.read(self.descriptor, 4096)
        line, _, self.buffer = self.buffer.partition(b"\n")
        line = line.decode().strip()
        assert line.startswith(start), f"{line!r}, expected {start!r}"
        return line


main()
