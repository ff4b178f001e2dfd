"""A decision as it is kept with the attempt it led to: one compact JSON object. Pure.

Fields: v version of this form · policy version of the merchant's policy · only, fee where one account could take it and
nothing was compared · worth of a success, in ten-thousandths of a minor unit · rank accounts in order: a account, ch
rail, p chance of success and usual (millionths), n observations behind it, fee in minor units, ev expected value in
ten-thousandths of a minor unit, health, ms latency, aside why it stands back, drawn the chance drawn for it when
exploring (millionths) · more accounts that came after those · no account → why it may not (a code, or "rule: "
and the rule's name) · rules names of those that held · preferred what a rule's weights drew · explored, probe.
The attempts that follow keep `{"v":1,"rank":n,"of":1}`: the n-th of the first attempt's decision.
"""

from typing import Any

import orjson

from gateway.routing.breaker import Health
from gateway.routing.decision import PPM, Decision, Ranked

FORM = 1
KEPT = 6  # accounts kept with all their figures


def to_json(decision: Decision) -> str:
    """Write a decision that found an account."""
    said: dict[str, Any] = {"v": FORM, "policy": decision.policy_version}
    first = decision.ranked[0]
    if decision.worth:
        said["worth"] = decision.worth
        said["rank"] = [_ranked(one) for one in decision.ranked[:KEPT]]
        if len(decision.ranked) > KEPT:
            said["more"] = [one.account_id for one in decision.ranked[KEPT:]]
    else:
        said["only"], said["fee"] = first.account_id, first.fee_minor
    if decision.refused:
        said["no"] = {one.account_id: _why(one.code, one.words) for one in decision.refused}
    if decision.rules:
        said["rules"] = list(decision.rules)
    if decision.preferred is not None:
        said["preferred"] = decision.preferred
    if decision.explored:
        said["explored"] = True
    if decision.probe:
        said["probe"] = True
    return orjson.dumps(said).decode()


def next_json(rank: int) -> str:
    """Write what a later attempt keeps: that it is the `rank`-th, from 2, of the first attempt's decision."""
    return f'{{"v":{FORM},"rank":{rank},"of":1}}'


def _ranked(one: Ranked) -> dict[str, Any]:
    said: dict[str, Any] = {
        "a": one.account_id,
        "ch": one.channel,
        "p": one.p_ppm,
        "usual": one.usual_ppm,
        "n": one.weight,
        "fee": one.fee_minor,
        "ev": one.value // PPM,
    }
    if one.health is not Health.CLOSED:
        said["health"] = one.health.value
    if one.latency_ms is not None:
        said["ms"] = one.latency_ms
    if one.aside is not None:
        said["aside"] = one.aside
    if one.drawn_ppm is not None:
        said["drawn"] = one.drawn_ppm
    return said


def _why(code: str, words: str) -> str:
    return f"rule: {words}" if code == "rule" else code
