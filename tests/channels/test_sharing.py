"""What single shares make of their order as a whole."""

from datetime import UTC, datetime, timedelta

from channels import Confirmed, Pending, Refused, Unknown
from channels.sharing import together
from kernel.money import Money

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ONE = Confirmed("d1", Money(100, "CNY"), AT)
TWO = Confirmed("d2", Money(23, "CNY"), AT + timedelta(seconds=9))
NO, WAITING, DOUBT = Refused("NO_RELATION"), Pending(), Unknown("RESULT odd")


def test_all_paid_is_paid_with_the_sum_and_the_last_moment() -> None:
    assert together("s1", [ONE, TWO]) == Confirmed("s1", Money(123, "CNY"), AT + timedelta(seconds=9))


def test_one_refused_does_not_undo_the_others() -> None:
    assert together("s1", [NO, TWO]) == Confirmed("s1", Money(23, "CNY"), TWO.happened_at)
    assert together("s1", [NO, NO]) == NO


def test_one_under_way_leaves_the_whole_under_way_and_one_in_doubt_leaves_it_in_doubt() -> None:
    assert together("s1", [ONE, WAITING, NO]) == Pending(channel_ref="s1")
    assert together("s1", [ONE, WAITING, DOUBT]) == DOUBT
