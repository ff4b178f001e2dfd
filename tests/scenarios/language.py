"""The language of the plays: the lines there are, and what a channel may be told to answer.

What a line does to the hub is the stage's: it names its methods by these lines (stage.py).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import cases
from channels.contract import Outcome, Pending, Refused
from splitting.banks.roles import Role
from tests.gateway.front import NEVER_ARRIVED, QR, SILENCE
from tests.splitting.town import FARM, KILN, MILL, PLATFORM, SHOP

CHANNELS = {"wechat": "rail", "alipay": "second"}  # name on the stage → channel account
PAYEES = {"platform": PLATFORM, "farm": FARM, "mill": MILL, "shop": SHOP, "kiln": KILN}
SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}

NO = Refused("NOT_ENOUGH", "the account is empty")
_ALL = ("pay", "query", "close", "reverse", "capture", "void", "refund", "refund_query")

# What a channel may be told to answer for as long as an action lasts: words → (meaning, answers).
ANSWERS: dict[str, tuple[str, Mapping[str, Outcome]]] = {
    "waits": (
        "has taken the order or the refund, and nobody has paid yet",
        {
            "pay": Pending(QR),
            "query": Pending(),
            **dict.fromkeys(("refund", "refund_query"), Pending(channel_ref="ch")),
        },
    ),
    "is silent": ("gives no answer to anything", dict.fromkeys(_ALL, SILENCE)),
    "refuses": (
        "says no for good, and has done nothing",
        {**dict.fromkeys(("pay", "capture", "refund"), NO), "refund_query": NEVER_ARRIVED},
    ),
    "takes shares in": (
        "has taken the share order, and decides later",
        dict.fromkeys(("share", "share_query"), Pending(channel_ref="ch")),
    ),
    "closes shares": (
        "pays no receiver of the share order: their accounts are abnormal",
        dict.fromkeys(("share", "share_query"), Refused("ACCOUNT_ABNORMAL", closed=True)),
    ),
    "shares nothing out": ("refuses the share order as a whole", {"share": Refused("RULE_LIMIT")}),
    "fetches nothing back": (
        "cannot fetch shares back: the receivers do not have the money",
        {"give_back": Refused("BALANCE_NOT_ENOUGH", closed=True)},
    ),
    "is busy": ("says that it cannot take the order now", {"pay": Refused("SYSTEM_BUSY", retriable=True)}),
}

_SHARE = r"[a-z]+ (?:\d+(?:\.\d+)? %|the rest)(?: by rail)?"
_WORDS = {
    "payment": r"P\d+",
    "attempt": r"P\d+\.\d+",
    "refund": r"R\d+",
    "try": r"R\d+\.\d+",
    "chargeback": r"C\d+",
    "batch": r"B\d+",
    "withdrawal": r"W\d+",
    "money": r"\d+\.\d\d",
    "channel": "|".join(CHANNELS),
    "payee": "|".join(PAYEES),
    "shares": rf"{_SHARE}(?:, {_SHARE})*",
    "policy": rf"last in first out|(?:{'|'.join(PAYEES)}) first",
    "release": r"on delivery|half at once and half after \d+ days?",
    "time": rf"\d+ (?:{'|'.join(SECONDS)})s?",
    "number": r"\d+",
    "role": "|".join(Role),
    "case": "|".join(cases.KINDS),
    "decision": r"[a-z_]+",
    "name": r"\S+",
}
SHARE = re.compile(r"([a-z]+) (?:(\d+(?:\.\d+)?) %|the rest)( by rail)?")


class Action(NamedTuple):
    """A line of the language. template: words in braces are values, what stands in brackets may be left out."""

    template: str
    pattern: re.Pattern[str]
    meaning: str
    act: Callable[..., Awaitable[None]]


ACTIONS: list[Action] = []


def action(template: str) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Have a method of the stage be what this line does; its docstring is what the README says of it."""

    def named(word: re.Match[str]) -> str:
        name, _, kind = word[1].partition(":")
        return f"(?P<{name}>{_WORDS[kind or name]})"

    pattern = re.sub(r"\{(\w+(?::\w+)?)\}", named, template.replace("[", "(?:").replace("]", ")?"))

    def added(act: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        shown = re.sub(r"\{(\w+):\w+\}", r"{\1}", template)
        ACTIONS.append(Action(shown, re.compile(pattern), (act.__doc__ or "").strip(), act))
        return act

    return added


class Understood(NamedTuple):
    action: Action
    values: dict[str, str]
    answers: dict[str, Mapping[str, Outcome]]  # by channel


def understand(text: str) -> Understood:
    """Return what an action's line asks for. Raises ValueError, which says why it asks for nothing."""
    told, _, meanwhile = text.partition(" while ")
    answers = {}
    for clause in filter(None, meanwhile.split(", ")):
        channel, _, words = clause.partition(" ")
        if channel not in CHANNELS or words not in ANSWERS:
            known = ", ".join(f"'wechat {one}'" for one in ANSWERS)
            raise ValueError(f"no channel is told to answer by {clause!r}: {known}, and so with alipay")
        answers[channel] = ANSWERS[words][1]
    for one in ACTIONS:
        if found := one.pattern.fullmatch(told):
            return Understood(one, {k: v for k, v in found.groupdict().items() if v is not None}, answers)
    first = told.split(" ")[0]
    near = [one.template for one in ACTIONS if one.template.split(" ")[0] == first] or [o.template for o in ACTIONS]
    raise ValueError(f"{told!r} is no action; there are: " + "; ".join(near))
