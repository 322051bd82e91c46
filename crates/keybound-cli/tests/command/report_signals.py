"""Prints each signal that arrives and its sender, a line each, and exits with 9 after SIGTERM.

The signals are blocked and received one by one, so that none is lost; a signal that is sent twice before it is received counts once.
"""
import os
import signal
import sys

HANDLED = {getattr(signal, f"SIG{name}") for name in sys.argv[1].split(",")} | {signal.SIGTERM}
USER = 0
# In seconds; reached only where a test fails.
MAX_WAIT = 60

signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
print("up", os.getpid(), os.getppid(), flush=True)
received = None
while received != signal.SIGTERM:
    info = signal.sigtimedwait(HANDLED, MAX_WAIT)
    if info is None:
        sys.exit("no signal arrived")
    received = signal.Signals(info.si_signo)
    sender = "kernel" if info.si_code > USER else "parent" if info.si_pid == os.getppid() else "other"
    print(received.name, sender, flush=True)
sys.exit(9)
