"""A play that cannot be read says why, with its file and line; and no rule and no end is without a play."""

import re
from pathlib import Path

import pytest

import reconciliation.states
from cases import KINDS
from ledger.rules import RULES
from ops.cases import EFFECTS
from ops.money_states import MEANING, Means
from tests.scenarios.coverage import NOT_REACHED, ends, missing, states_shown
from tests.scenarios.pages import PLAYS, README, every_play, straightened, with_tables
from tests.scenarios.reader import Malformed, parse
from tests.scenarios.stage import check
from tests.scenarios.test_plays import SALE

ROOT = Path(__file__).parents[2]
BELOW = "                   credit merchant 100.00\n"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("payer pays P1", "payer buys P1", "5: 'payer buys P1 100.00' is no action; there are: payer pays"),
        ("payer pays P1 100.00", "payer pays P1 100.0", "5: 'payer pays P1 100.0' is no action"),
        ("payer pays P1", "Payer pays P1", "5: 'Payer pays P1 100.00' is no action"),
        ("100.00\n  payment", "100.00 while wechat sleeps\n  payment", "5: no channel is told to answer by 'wechat sl"),
        ("100.00\n  payment", "100.00 while visa waits\n  payment", "5: no channel is told to answer by 'visa waits'"),
        ("payment P1 is succeeded", "payment P1 is paid", "6: a payment is never 'paid': canceled, expired"),
        ("payment P1 is succeeded", "order P1 is succeeded", "6: there is no 'order': payment, attempt"),
        ("payment P1 is succeeded", "payment P1 succeeded", "6: 'payment P1 succeeded' is neither a state"),
        ("payment_captured", "payment_caught", "7: there is no posting rule 'payment_caught'"),
        ("channel:wechat 应收", "chanel:wechat 应收", "7: there is no account 'chanel:wechat': channel, bank"),
        ("应收渠道款", "应付渠道款", "7: channel:wechat is 应收渠道款 in the chart of accounts, not 应付渠道款"),
        (
            "款 100.00\n",
            "款 100,00\n",
            "7: 'debit channel:wechat 应收渠道款 100,00' is not 'debit' or 'credit', an acc",
        ),
        (
            "款 100.00\n",
            "款\n",
            "7: 'debit channel:wechat 应收渠道款' is not 'debit' or 'credit', an account, and an amo",
        ),
        ("credit merchant 100.00", "debit merchant 100.00", "8: 'debit merchant 100.00' is neither a state"),
        (BELOW, "", "7: payment_captured has no credit under its debit"),
        (BELOW, BELOW * 2, "9: 'credit merchant 100.00' is neither a state"),
        ("credit merchant 99.40", "merchant 99.40", "14: 'merchant 99.40' is not 'debit' or 'credit', an account"),
        ("payer pays P1", "  payment P1 is failed\npayer pays P1", "5: there is no action yet"),
        ("payer pays P1", "given payer pays P1", "7: of what is given only states are told"),
        ("balance\n", "given balance\n", "12: 'balance' is looked at, not given"),
        ("balance", "available", "14: a play ends with a balance"),
        ("A sale 收款\n\n", "", "1: a play begins with its title, an empty line, and what happens in it"),
        ("The payer pays, and the shop is owed it.\n", "", "1: a play begins with its title"),
        (SALE, "", "1: a play begins with its title"),
    ],
)
def test_a_line_that_says_nothing_is_told_with_its_place(old: str, new: str, why: str) -> None:
    assert SALE.count(old) == 1
    with pytest.raises(Malformed, match=re.escape(f"sale.play:{why}")):
        parse(Path("sale.play"), SALE.replace(old, new), check)


@pytest.mark.parametrize("path", PLAYS, ids=lambda path: path.stem)
def test_accounts_and_amounts_stand_in_columns(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text == straightened(text), "python -m tests.scenarios.pages straightens it"


def test_the_tables_of_the_page_are_those_of_the_plays() -> None:
    text = README.read_text("utf-8")
    assert text == with_tables(text, every_play()), "python -m tests.scenarios.pages writes them"
    stale = text.replace("settle_paid.play:", "settle_paid.play:1", 1)
    assert stale != with_tables(stale, every_play())


# ---- nothing is without its play -------------------------------------------------------------------------------------


def test_every_posting_rule_every_end_and_every_decision_has_a_play() -> None:
    assert missing(every_play()) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_posting_rule_without_a_play_is_named(rule: str) -> None:
    plays = every_play()
    for play in plays:
        for step in play.steps:
            step.postings = [posting for posting in step.postings if posting.rule != rule]
    assert missing(plays) == [f"posting rule {rule}: no play shows it"]


def test_an_end_without_a_play_is_named() -> None:
    for end in states_shown(every_play()):
        plays = every_play()
        for play in plays:
            for step in play.steps:
                step.claims = [claim for claim in step.claims if (claim.object, claim.state) != end]
        assert missing(plays) == [f"{name} {state}: no play ends so" for name, state in [end] if end in ends()]


def test_what_is_new_is_missing_until_a_play_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "tip", RULES["share"])
    monkeypatch.setitem(MEANING["refund"], "lost", Means("nothing", ()))
    monkeypatch.setitem(KINDS, "tea_is_cold", KINDS["charged_twice"])
    monkeypatch.setitem(EFFECTS, ("charged_twice", "give_back"), EFFECTS["payout_in_doubt", "paid"])
    assert missing(every_play()) == [
        "posting rule tip: no play shows it",
        "refund lost: no play ends so",
        "case tea_is_cold: no play shows it",
        "case charged_twice, give_back: no play shows it",
    ]


def test_what_no_play_can_end_as_nothing_of_the_hub_leads_to() -> None:
    source = {path: path.read_text("utf-8") for name in ("ledger", "gateway", "splitting", "cases", "reconciliation")
              for path in (ROOT / name).rglob("*.py")}  # fmt: skip
    events = {
        str(move.to): str(event.name)
        for (state, event), move in reconciliation.states.DISCREPANCY.items()
        if state != move.to and ("discrepancy", str(move.to)) in NOT_REACHED
    }
    assert set(events) == {state for name, state in NOT_REACHED if name == "discrepancy"}
    for event in events.values():
        users = [path for path, text in source.items() if f"Event.{event}" in text]
        assert [path.name for path in users] == ["states.py"], (
            f"something moves a discrepancy by {event}: give it a play"
        )
    giving = [path for path, text in source.items() if re.search(r"Transfer\([^)]*expires_at", text)]
    assert giving == [], "a hold may expire: give it a play"
