"""Audited accesses reach the log and whoever listens, in order, and never wait for them."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from lamina.core.audit_trail import KIND, AuditTrail
from lamina.ntfsa.security.audit import AuditEvent


def event(number: int, success: bool = True) -> AuditEvent:
    return AuditEvent("data", f"folder\\{number}", "ada", "S-1-5-21-1-2-3-1000", "10.0.0.1", 0x10003, success)


def test_events_are_told_in_order_with_all_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, Mapping[str, Any]]] = []
    trail = AuditTrail(lambda kind, details: heard.append((kind, details)))
    with caplog.at_level(logging.INFO, "lamina.audit"):
        for number in range(3):
            trail.add(event(number, success=number != 1))
        trail.close()
    assert [details["path"] for _, details in heard] == ["folder\\0", "folder\\1", "folder\\2"]
    assert heard[1] == (
        KIND,
        {
            "result": "failure", "user": "ada", "user_sid": "S-1-5-21-1-2-3-1000", "client": "10.0.0.1",
            "share": "data", "path": "folder\\1", "access": 0x10003, "rights": ["read_data", "write_data", "delete"],
        },
    )  # fmt: skip
    assert "result='failure' user='ada'" in caplog.messages[1]
    assert [record.audit["path"] for record in caplog.records] == [details["path"] for _, details in heard]  # type: ignore[attr-defined]


def test_a_listener_that_stands_still_keeps_nobody_waiting() -> None:
    go, heard = threading.Event(), []

    def slow(kind: str, details: Mapping[str, Any]) -> None:
        go.wait(20)
        heard.append(details["path"])

    trail = AuditTrail(slow, length=4)
    for number in range(50):
        trail.add(event(number))
    assert trail.dropped >= 45
    go.set()
    trail.close()
    assert len(heard) == 50 - trail.dropped


def test_a_trail_without_events_has_no_thread() -> None:
    before = threading.active_count()
    AuditTrail(lambda kind, details: None).close()
    assert threading.active_count() == before
