from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Callable

import pytest
from conftest import RESOURCE, wait_for_records

from keybound import ManagedIdentityClient

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from keybound.emulator import Emulator


def test_steps_are_logged(emulator: Emulator, client: ManagedIdentityClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "keybound"):
        client.acquire_token(RESOURCE)
        wait_for_records()
    steps = [record for record in caplog.records if record.name == "keybound.step"]
    assert {"metadata", "token"} <= {word for record in steps for word in record.getMessage().replace('"', " ").split()}
    assert all(record.threadName == "keybound" for record in steps)
    assert all(record.name.startswith("keybound") for record in caplog.records)


def test_percent_signs_are_no_format(emulator: Emulator, client: ManagedIdentityClient, caplog: pytest.LogCaptureFixture) -> None:
    emulator.inject("token=status:503,body=100%s%d*1")
    with caplog.at_level(logging.DEBUG, "keybound"):
        client.acquire_token(RESOURCE)
        wait_for_records()
    for record in caplog.records:
        assert record.args
        record.getMessage()


def test_levels_are_those_of_the_logger(
    emulator: Emulator, client: ManagedIdentityClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("keybound").setLevel(logging.ERROR)
        try:
            client.acquire_token(RESOURCE)
            wait_for_records()
        finally:
            logging.getLogger("keybound").setLevel(logging.NOTSET)
    assert [record for record in caplog.records if record.name.startswith("keybound")] == []


def test_nothing_is_written_without_handlers(emulator: Emulator, run: Callable[..., CompletedProcess[str]]) -> None:
    code = """
import keybound
client = keybound.ManagedIdentityClient()
try:
    client.acquire_token("https://vault.azure.net", attested=False)
except keybound.KeyboundError as error:
    print(error.code)
assert keybound._native.wait_for_records(30)
"""
    emulator.inject("token=status:400")
    done = run(code)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.strip()


def test_a_handler_cannot_wait_for_the_runtime(emulator: Emulator, client: ManagedIdentityClient) -> None:
    errors: list[str] = []

    class Calling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                client.acquire_token("https://graph.microsoft.com")
            except RuntimeError as error:
                errors.append(str(error))

    logger, handler = logging.getLogger("keybound"), Calling()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        assert client.acquire_token(RESOURCE).token_type == "mtls_pop"
        wait_for_records()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert any("handler" in error for error in errors)


def test_failing_handlers_do_not_fail_calls(
    emulator: Emulator, client: ManagedIdentityClient, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError

    logger, handler = logging.getLogger("keybound"), Failing()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        assert client.acquire_token(RESOURCE).token_type == "mtls_pop"
        wait_for_records()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert "panicked" not in capsys.readouterr().err


SHIPPING = """
import logging
import keybound

client = keybound.ManagedIdentityClient()
tokens = []

class Shipping(logging.Handler):
    def emit(self, record):
        if not record.name.startswith("keybound"):
            tokens.append(client.acquire_token("https://vault.azure.net", timeout=20).token_type)

logging.basicConfig(level=logging.DEBUG, handlers=[Shipping()])
logging.warning("first")
print(tokens)
"""


def test_a_handler_of_other_records_can_acquire_tokens(run: Callable[..., CompletedProcess[str]]) -> None:
    # It holds its lock meanwhile, for which the records of the acquisition wait.
    done = run(SHIPPING)
    assert (done.stdout, done.returncode) == ("['mtls_pop']\n", 0), done.stderr


def test_calls_do_not_wait_for_handlers(emulator: Emulator, client: ManagedIdentityClient) -> None:
    is_called, may_go_on = threading.Event(), threading.Event()
    received: list[str] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            is_called.set()
            may_go_on.wait(30)
            received.append(record.getMessage())

    logger, handler = logging.getLogger("keybound"), Slow()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        for _ in range(400):
            assert client.acquire_token(RESOURCE, force_refresh=True).token_type == "mtls_pop"
        assert is_called.wait(30)
        assert received == []
        may_go_on.set()
        wait_for_records()
    finally:
        may_go_on.set()
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    # The queue is bounded.
    assert any("metadata" in text for text in received)
    assert received[-1].endswith("records are lost: the handlers of logging are too slow")


def test_records_are_handled_before_the_end(run: Callable[..., CompletedProcess[str]]) -> None:
    code = """
import logging, time
import keybound

class Slow(logging.StreamHandler):
    def emit(self, record):
        time.sleep(0.01)
        super().emit(record)

logging.basicConfig(level=logging.DEBUG, handlers=[Slow()])
keybound.ManagedIdentityClient().acquire_token("https://vault.azure.net")
"""
    done = run(code)
    assert done.returncode == 0
    for step in ("metadata", "token"):
        assert step in done.stderr
    assert "Traceback" not in done.stderr
