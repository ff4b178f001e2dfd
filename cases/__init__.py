"""Cases 待人工处理: what a person must decide about money, from the moment it is found until somebody has.

A command that finds such a fact opens the case in its own batch, so that the fact and its owner are committed together:

    def needs(self, work):
        ...
        yield from cases.needs(self.book, "refund_not_delivered", refund.id)

    def apply(self, work):
        ...
        cases.open_case(
            work, self.book, "refund_not_delivered", refund.id,
            amount_minor=refund.amount_minor, currency=refund.currency, facts={"code": said.code},
        )

An object has one case of a kind: opening it again while it is open only brings its facts up to date, and after it was
decided opens it anew. A decision that leaves the matter as it is (`PROVISIONAL`: wait, sent_on) may be followed by
another. Where the fact is gone without anybody's decision (a later try succeeded), `close_case` says so.

A new kind is a line in `cases/catalogue.py`: what has happened, and what may be decided. A decision that has to do
something (begin a refund again) has its `Effect` in `ops/wiring.py`, carried out in the batch that records it; one
without an effect only says what was found out, and who said it.
"""

from cases import store
from cases.catalogue import KINDS, NAMED, CaseKind
from cases.commands import (
    ACCOUNT,
    FILE,
    HINDERED,
    LINE,
    CloseCase,
    DecideCase,
    Effect,
    Named,
    NoteHindrance,
    OpenCase,
    check_decision,
    close_case,
    may_be_decided,
    named_in,
    needs,
    open_case,
    takes_two,
)
from cases.objects import EVENTS, case_payload
from cases.store import INVARIANTS
from cases.tables import CASES, Case, case_id

__all__ = [
    "ACCOUNT",
    "CASES",
    "EVENTS",
    "FILE",
    "HINDERED",
    "INVARIANTS",
    "KINDS",
    "LINE",
    "NAMED",
    "Case",
    "CaseKind",
    "CloseCase",
    "DecideCase",
    "Effect",
    "Named",
    "NoteHindrance",
    "OpenCase",
    "case_id",
    "case_payload",
    "check_decision",
    "close_case",
    "may_be_decided",
    "named_in",
    "needs",
    "open_case",
    "store",
    "takes_two",
]
