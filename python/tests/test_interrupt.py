from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Callable

import pytest
from conftest import RESOURCE

import keybound
from keybound import ManagedIdentityClient

if TYPE_CHECKING:
    from keybound.emulator import Emulator

# In seconds, of the median of the rounds: a loaded machine delays single ones. A call that ignored Ctrl-C would end at its timeout.
LIMIT = 1.0
ROUNDS = 5


def wait_for_request(emulator: Emulator, leg: str) -> None:
    deadline = time.monotonic() + 30
    while leg not in emulator.counts() and time.monotonic() < deadline:
        time.sleep(0.005)


def interrupt_when(emulator: Emulator, leg: str) -> list[float]:
    """Sends SIGINT once the emulator has received a request; the result is the time of the signal."""
    sent: list[float] = []

    def wait() -> None:
        wait_for_request(emulator, leg)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
    return sent


def time_to_interrupt(emulator: Emulator, leg: str, call: Callable[[], object]) -> float:
    """The time between Ctrl-C and the end of a call that hangs, the median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        emulator.reset()
        emulator.inject(f"{leg}=hang*1")
        sent = interrupt_when(emulator, leg)
        with pytest.raises(KeyboardInterrupt):
            call()
        times.append(time.monotonic() - sent[0])
    return statistics.median(times)


@pytest.mark.parametrize("leg", ["metadata", "token"])
def test_ctrl_c_ends_an_acquisition(emulator: Emulator, client: ManagedIdentityClient, leg: str) -> None:
    assert time_to_interrupt(emulator, leg, lambda: client.acquire_token(RESOURCE)) < LIMIT
    assert client.acquire_token(RESOURCE).token_type == "mtls_pop"


def test_ctrl_c_ends_a_call(emulator: Emulator, warm_client: ManagedIdentityClient) -> None:
    vault = warm_client.resource(RESOURCE)
    assert time_to_interrupt(emulator, "vault", lambda: vault.get(f"{emulator.vault}/secrets/db?api-version=7.4")) < LIMIT


def test_handlers_that_return_do_not_end_a_call(emulator: Emulator, client: ManagedIdentityClient) -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGUSR1, lambda number, _frame: received.append(number))
    try:
        emulator.inject("metadata=delay:300*1")

        def interrupt() -> None:
            wait_for_request(emulator, "metadata")
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = threading.Thread(target=interrupt)
        thread.start()
        assert client.acquire_token(RESOURCE).token_type == "mtls_pop"
        # A late signal would end the process after the next line.
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert received == [signal.SIGUSR1]


def test_other_threads_run_meanwhile(emulator: Emulator, client: ManagedIdentityClient) -> None:
    emulator.inject("metadata=hang*1")
    rounds = 0
    is_done = False

    def count() -> None:
        nonlocal rounds
        while not is_done:
            rounds += 1
            time.sleep(0.005)

    thread = threading.Thread(target=count)
    thread.start()
    with pytest.raises(keybound.DeadlineReached):
        client.acquire_token(RESOURCE, timeout=0.3)
    is_done = True
    thread.join()
    # A thread that waits for the lock of the interpreter counts one or two.
    assert rounds > 4


def test_ctrl_c_ends_a_program(emulator: Emulator) -> None:
    emulator.inject("metadata=hang*1")
    code = "import keybound; keybound.ManagedIdentityClient().acquire_token('https://vault.azure.net')"
    environment = {**os.environ, **emulator.environment()}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True) as program:
        wait_for_request(emulator, "metadata")
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert "panicked" not in errors
