"""What of a channel's answer may be believed. Pure; docs/decisions/0020-what-a-no-may-decide.md."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from channels.contract import Confirmed, Outcome, Refused, Unknown

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # before that no rail moved money for us
AHEAD = timedelta(days=1)  # of our clock a rail's may be; of a clock that is off by hours the day is still a day


class Answers(StrEnum):
    """What an outcome is the answer to."""

    QUESTION = "question"  # what became of it? also a notice, and that something was closed or given back
    MESSAGE = "message"  # do it: pay, capture, refund
    SECOND_CALL = "second_call"  # do it now: proceed


def believed(outcome: Outcome, answers: Answers, *, alone: bool) -> Outcome:
    """Return an outcome as far as it may be believed.

    alone: the message that was answered is the only one of its number that can have reached the channel, by this
    process or another, now or earlier. Where it is not, a no is about the repetition (its signature, a limit, the
    number being used) and says nothing of the others, one of which may still be carried out: it becomes Unknown. Where
    it is, a no in words that the rail also has for a used number (Unknown.refusal) is meant for this message.
    """
    if answers is Answers.QUESTION:
        return outcome
    if isinstance(outcome, Refused) and not alone:
        words = f"{outcome.code}: {outcome.message}".rstrip(": ")
        return Unknown(f"a repetition was refused, {words}", repetition=outcome)
    if isinstance(outcome, Unknown) and outcome.refusal is not None and alone:
        return outcome.refusal
    return outcome


def in_time(outcome: Outcome, now: datetime) -> Outcome:
    """Return an outcome; money said to have moved when it cannot have is no answer, and is asked about again.

    The business day follows from that moment, and of a day that is none no proof would ever be made.
    """
    if isinstance(outcome, Confirmed) and not EARLIEST <= outcome.happened_at <= now + AHEAD:
        return Unknown(f"not believed: {outcome.channel_ref} is said to be of {outcome.happened_at}, which cannot be")
    return outcome
