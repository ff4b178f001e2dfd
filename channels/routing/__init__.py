"""Smart routing 智能路由: which channel account takes a payment. Pure; docs/routing.md explains it with its numbers."""

from channels.routing.breaker import Breaker, Health, Thresholds
from channels.routing.decision import PPM, UNITS, Decision, Ranked, decide
from channels.routing.eligibility import AUTO, REASONS, Candidate, No, Wanted, sift
from channels.routing.knowledge import Knowledge, Seen
from channels.routing.learning import Chances, Memory, Rail, bucket
from channels.routing.policy import NO_POLICY, Policy, PolicyWrong
from channels.routing.record import next_json, to_json
from channels.routing.verdicts import Verdict, verdict_of

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
