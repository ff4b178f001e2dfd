"""Smart routing 智能路由: which channel account takes a payment. Pure; docs/routing.md explains it with its numbers."""

from gateway.routing.breaker import Breaker, Health, Thresholds
from gateway.routing.decision import PPM, UNITS, Decision, Ranked, decide
from gateway.routing.eligibility import AUTO, REASONS, Candidate, No, Wanted, sift
from gateway.routing.knowledge import Knowledge, Seen
from gateway.routing.learning import Chances, Memory, Rail, bucket
from gateway.routing.policy import NO_POLICY, Policy, PolicyWrong
from gateway.routing.record import next_json, to_json
from gateway.routing.verdicts import Verdict, verdict_of

__all__ = [
    "AUTO",
    "NO_POLICY",
    "PPM",
    "REASONS",
    "UNITS",
    "Breaker",
    "Candidate",
    "Chances",
    "Decision",
    "Health",
    "Knowledge",
    "Memory",
    "No",
    "Policy",
    "PolicyWrong",
    "Rail",
    "Ranked",
    "Seen",
    "Thresholds",
    "Verdict",
    "Wanted",
    "bucket",
    "decide",
    "next_json",
    "sift",
    "to_json",
    "verdict_of",
]
