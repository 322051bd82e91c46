"""The end of a process while work is under way."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Callable

import pytest

from keybound.emulator import Emulator

if TYPE_CHECKING:
    from subprocess import CompletedProcess

# Scripts that measure ask for more.
ROUNDS = int(os.environ.get("KEYBOUND_EXIT_ROUNDS", "24"))

# Python's own OpenSSL is loaded first, and its end is registered first.
WORKING = """
import ssl, sys, threading, time
context = ssl.create_default_context()
import keybound
client = keybound.ManagedIdentityClient()
def work():
    try:
        while True:
            client.acquire_token("https://vault.azure.net", force_refresh=True)
            client.resource("https://vault.azure.net").get(sys.argv[2] + "/secrets/db?api-version=7.4").read()
    except BaseException:
        pass
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(float(sys.argv[1]))
"""


def test_exits_at_any_moment(emulator: Emulator, run: Callable[..., CompletedProcess[str]]) -> None:
    def once(number: int) -> tuple[int, str]:
        done = run(WORKING, str(number * 0.6 / ROUNDS), emulator.vault)
        return done.returncode, done.stderr

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(once, range(ROUNDS))) == {(0, "")}


@pytest.mark.parametrize("delay", [0, 0.1, 0.3])
def test_an_emulator_that_is_not_closed(run: Callable[..., CompletedProcess[str]], delay: float) -> None:
    code = """
import ssl, sys, threading, time
import keybound
from keybound.emulator import Emulator
emulator = Emulator()
client = keybound.ManagedIdentityClient(**emulator.client_settings)
threading.Thread(target=client.acquire_token, args=("https://vault.azure.net",), daemon=True).start()
time.sleep(float(sys.argv[1]))
"""
    done = run(code, str(delay))
    assert done.returncode == 0
    # The waiting thread may have reported that its call was cancelled.
    assert "panicked" not in done.stderr


def test_calls_at_the_end_fail_without_hanging(run: Callable[..., CompletedProcess[str]]) -> None:
    code = """
import atexit, sys
client = None
def late():
    try:
        client.acquire_token("https://vault.azure.net")
    except RuntimeError as error:
        print("failed:", error)
atexit.register(late)
import keybound
client = keybound.ManagedIdentityClient()
"""
    done = run(code)
    assert done.returncode == 0
    assert done.stdout == "failed: the interpreter ends\n"
    assert done.stderr == ""


@pytest.mark.parametrize("first", ["acquire_token", "supports_imds_v2", "bearer_token"])
def test_an_event_loop_of_a_daemon_thread_ends_without_a_message(run: Callable[..., CompletedProcess[str]], first: str) -> None:
    code = """
import asyncio, atexit, sys, threading
ready, ended = threading.Event(), threading.Event()
def late():
    ended.set()
    thread.join(20)
    print("alive" if thread.is_alive() else "ended")
# Runs after the handler of keybound.
atexit.register(late)
import keybound.aio
async def main():
    client = keybound.aio.ManagedIdentityClient()
    if sys.argv[1] == "running":
        await client.supports_imds_v2()
    ready.set()
    ended.wait()
    await getattr(client, sys.argv[2])(*sys.argv[3:])
thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
thread.start()
ready.wait()
"""
    for state in ("running", "not running"):
        arguments = [] if first == "supports_imds_v2" else ["https://vault.azure.net"]
        done = run(code, state, first, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_an_asyncio_program_that_leaves_work(run: Callable[..., CompletedProcess[str]], emulator: Emulator) -> None:
    emulator.inject("metadata=hang*1")
    code = """
import asyncio
import keybound.aio
async def main():
    task = asyncio.ensure_future(keybound.aio.ManagedIdentityClient().acquire_token("https://vault.azure.net"))
    await asyncio.sleep(0.1)
    global left
    left = task
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
    done = run(code)
    assert done.returncode == 0
    assert "panicked" not in done.stderr
