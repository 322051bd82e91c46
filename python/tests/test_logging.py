from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from conftest import RESOURCE

from keybound import ManagedIdentityClient

if TYPE_CHECKING:
    from keybound.emulator import Emulator


def test_steps_are_logged(emulator: Emulator, client: ManagedIdentityClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "keybound"):
        client.acquire_token(RESOURCE)
    steps = [record for record in caplog.records if record.name == "keybound.step"]
    assert {"metadata", "token"} <= {word for record in steps for word in record.getMessage().replace('"', " ").split()}
    assert all(record.threadName == "keybound" for record in steps)
    assert all(record.name.startswith("keybound") for record in caplog.records)


def test_percent_signs_are_no_format(emulator: Emulator, client: ManagedIdentityClient, caplog: pytest.LogCaptureFixture) -> None:
    emulator.inject("token=status:503,body=100%s%d*1")
    with caplog.at_level(logging.DEBUG, "keybound"):
        client.acquire_token(RESOURCE)
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
        finally:
            logging.getLogger("keybound").setLevel(logging.NOTSET)
    assert [record for record in caplog.records if record.name.startswith("keybound")] == []


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
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert "panicked" not in capsys.readouterr().err
