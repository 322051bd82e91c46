"""Says which signals arrive, in their order and by whom they were sent, a line each, until SIGTERM has come: exit 9.

The signals are blocked and taken one by one, so that none is lost; one that is sent twice before it is taken is one signal.
"""
import os
import signal
import sys

HEEDED = {getattr(signal, f"SIG{name}") for name in sys.argv[1].split(",")} | {signal.SIGTERM}
USER = 0
# Of a test that fails.
LONGEST_WAIT = 60

signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
print("up", os.getpid(), os.getppid(), flush=True)
received = None
while received != signal.SIGTERM:
    info = signal.sigtimedwait(HEEDED, LONGEST_WAIT)
    if info is None:
        sys.exit("no signal came")
    received = signal.Signals(info.si_signo)
    sender = "kernel" if info.si_code > USER else "parent" if info.si_pid == os.getppid() else "other"
    print(received.name, sender, flush=True)
sys.exit(9)
