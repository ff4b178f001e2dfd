"""An outage is one line when it begins and one when it is over, with what was counted between."""

import logging

import pytest

from kernel.outage import Outage, said

log = logging.getLogger("tests.outage")


async def test_many_notice_and_two_lines_are_written(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("the database", log)
    outage.back()
    for _ in range(500):
        outage.away(ConnectionRefusedError("connection\nrefused"))
    assert outage.is_on
    outage.back()
    outage.back()
    assert not outage.is_on
    assert [record.message for record in caplog.records] == [
        "the database does not answer; this is said once, until it answers again",
        "the database answers again",
    ]
    assert caplog.records[0].__dict__["why"] == "ConnectionRefusedError: connection refused"
    assert caplog.records[1].__dict__["noticed"] == 500


async def test_what_comes_and_goes_all_the_time_is_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("the database", log)
    for _ in range(500):
        outage.away("silence")
        outage.back()
    assert len(caplog.records) == 2


def test_a_reason_without_words_is_given_some() -> None:
    assert said(TimeoutError()) == "no answer in time"
    assert said(TimeoutError("no connection within 5 s")) == "TimeoutError: no connection within 5 s"
    assert said(ConnectionResetError()) == "ConnectionResetError"
