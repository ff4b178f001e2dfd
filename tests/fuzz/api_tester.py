"""Runs in the environment of Schemathesis: sends requests made from the OpenAPI document, as two merchants in turn.

`told` (JSON on standard input): document, url, keys (two, by merchant), count, seed. Says on standard error how far it
is, and prints in the end what was answered and what was wrong.

Schemathesis makes the requests and holds every answer to the document. What it cannot know is checked here: whose an
object is, and which codes a problem of this operation may have.
"""

import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from schemathesis.generation import GenerationMode

sys.path.insert(0, str(Path(__file__).parent))

from api_steering import KINDS, Known, objects_in, steer  # beside this file, which is run alone

SWEPT = 30  # objects of a kind and merchant that the other asks for in the end, by every operation
PROGRESS_S = 5.0
KEPT = 40  # wrong answers that are told in full
AN_ID = re.compile(r"\b(?:[a-z]+_[0-9a-f]{26}|stl_[0-9a-z_]+)\b", re.IGNORECASE)
PROBLEM = "application/problem+json"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "allow_header_conformance", "ignored_auth", "use_after_free", "ensure_resource_availability",
)  # fmt: skip
NARROWER = ("return_url",)  # the door takes more of it than the document says, on purpose: see kernel/shapes.py, Said
OUR_CHECKS = ("code_is_in_the_document", "nothing_is_anothers")


class Run:
    """What has been asked and answered, by operation."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.told = told
        self.url: str = told["url"]
        self.keys: dict[str, str] = told["keys"]
        self.me = ""  # whose turn it is
        self.sent = 0
        self.limit: int = told["count"]  # of requests, at which a phase is stopped
        self.answers: dict[str, Counter[str]] = defaultdict(Counter)
        self.codes: dict[str, Counter[str]] = defaultdict(Counter)
        self.foreign: dict[str, Counter[str]] = defaultdict(Counter)
        self.strangers: dict[str, Counter[str]] = defaultdict(Counter)
        self.known = {name: Known(name) for name in self.keys}
        self.owners: dict[str, set[str]] = defaultdict(set)  # (kind and id) → those who were shown it as theirs
        self.asked: set[tuple[str, str]] = set()  # (operation, id), as the other
        self.done: dict[str, Any] = {}  # the last request that went well, by operation
        self.wrong: Counter[str] = Counter()
        self.details: list[dict[str, Any]] = []
        paths = told["document"]["paths"]
        self.operations = [one["operationId"] for methods in paths.values() for one in methods.values()]
        self.session = requests.Session()
        self.session.trust_env = False
        self.stream: Any = None

    @property
    def other(self) -> str:
        return next(name for name in self.keys if name != self.me)

    def succeeded(self, operation: str) -> bool:
        return any(status < "300" for status in self.answers[operation])

    def complain(self, operation: str, check: str, why: str, how: str, got: Any) -> None:
        """Keep one wrong answer; of those that are alike only the first is told in full."""
        name = f"{operation}: {check}: {' '.join(why.split())[:160]}"
        self.wrong[name] += 1
        if self.wrong[name] == 1 and len(self.details) < KEPT:
            self.details.append(
                {"what": name, "why": why[:1500], "sent": self.hide(how)[:1500], "got": repr(got)[:700]}
            )

    def hide(self, text: str) -> str:
        for name, key in self.keys.items():
            text = text.replace(key, f"<key of {name}>")
        return text

    # ---- whose it is -------------------------------------------------------------------------------------------------

    def learn(self, who: str, body: bytes) -> None:
        """Keep what objects a merchant was shown as its own."""
        try:
            said = json.loads(body)
        except ValueError:  # the payments as CSV
            return
        self.known[who].learn(said)
        for one in objects_in(said):
            name = str(one.get("id", ""))
            self.owners[f"{one['object']} {name}"].add(who)
            if AN_ID.fullmatch(name):
                self.owners[name].add(who)

    def named(self, who: str, operation: str, got: Any) -> None:
        """Keep what a merchant has called a channel account: the name is its own choice, and may look like any id."""
        if operation == "add_channel_account" and got.status_code == 201:
            self.learn(who, got.content)

    def leaked(self, who: str, status: int, body: bytes, request: str) -> str | None:
        """Return an id of the other merchant that an answer holds; a refusal may quote what it was sent."""
        for name in AN_ID.findall(body.decode("utf-8", "replace")):
            owners = self.owners.get(name, set())
            if owners and who not in owners and (status < 400 or name not in request):
                return name
        return None

    def mine(self, text: str) -> list[str]:
        """Return the ids in a request that only the merchant has who sends it."""
        return [name for name in AN_ID.findall(text) if self.owners.get(name) == {self.me}]

    def after_success(self, case: Any, request: Any) -> None:
        """Send what was just done once more with the other merchant's key."""
        operation = case.operation.definition.raw["operationId"]
        self.done[operation] = request
        names = [name for name in self.mine(text_of(request)) if (operation, name) not in self.asked]
        self.asked.update((operation, name) for name in names)
        if names or (operation not in KINDS and case.method == "POST" and self.sent % 5 == 0):
            self.ask_as_the_other(operation, request, request.url, names)

    def ask_as_the_other(self, operation: str, request: Any, url: str, mine: Sequence[str]) -> None:
        """Send a request with the other merchant's key. mine: ids in it that are not that one's.

        The Idempotency-Key stays: one merchant's means nothing for another.
        """
        again = request.copy()
        again.url = url
        again.headers["Authorization"] = f"Bearer {self.keys[self.other]}"
        got = self.session.send(again, timeout=60)
        self.foreign[operation][str(got.status_code)] += 1
        self.named(self.other, operation, got)
        mine = [name for name in mine if self.other not in self.owners[name]]
        why = None
        if got.status_code >= 500:
            why = f"it is answered {got.status_code}"
        elif code_of(got.content) == "idempotency_key_reused":  # by that one itself: nothing was looked for
            pass
        elif any(name in url.partition("?")[0].split("/") for name in mine) and got.status_code != 404:
            why = f"its path names what is another's, and it is answered {got.status_code}"
        elif mine and again.method != "GET" and got.status_code < 300:
            why = f"it names what is another's, and is answered {got.status_code}"
        elif self.leaked(self.other, got.status_code, got.content, text_of(again)) is not None:
            why = "the answer holds what is another's"
        if why is None and got.status_code < 300:
            self.learn(self.other, got.content)
        if why is not None:
            self.complain(operation, "wrong_merchant", why, f"{again.method} {url} {again.body!r}", got.content)


def text_of(request: Any) -> str:
    body = request.body or b""
    return f"{request.url}\n{body if isinstance(body, str) else body.decode('utf-8', 'replace')}"


def code_of(body: bytes) -> str:
    """Return the code of a problem, nothing where it is none."""
    try:
        return str(json.loads(body)["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def codes_of(document: Mapping[str, Any], case: Any, status: int) -> list[str]:
    """Return the codes that a problem may have here: the document has an example of each."""
    found = case.operation.definition.raw["responses"].get(str(status))
    found = document["components"]["responses"]["MethodNotAllowed"] if found is None and status == 405 else found
    if found is not None and "$ref" in found:
        found = document["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return [] if found is None else list(found["content"][PROBLEM]["examples"])


def install(run: Run) -> None:
    """Have Schemathesis count, and check what is ours to check."""
    document = run.told["document"]

    @schemathesis.hook
    def map_case(context: Any, case: Any) -> Any:
        if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
            steer(case, run.known[run.me])
        return case

    @schemathesis.hook
    def after_call(context: Any, case: Any, response: Any) -> None:
        run.sent += 1
        run.answers[case.operation.definition.raw["operationId"]][str(response.status_code)] += 1
        if response.status_code >= 400:
            run.codes[case.operation.definition.raw["operationId"]][code_of(response.content)] += 1
        if run.sent >= run.limit and run.stream is not None:
            run.stream.stop()

    @schemathesis.check
    def code_is_in_the_document(ctx: Any, response: Any, case: Any) -> None:
        if not (response.headers.get("content-type") or [""])[0].startswith(PROBLEM):
            return
        code, codes = json.loads(response.content).get("code"), codes_of(document, case, response.status_code)
        if any(code == one or (one.endswith("…") and code.startswith(one[:-1])) for one in codes):
            return
        raise AssertionError(f"the code {code!r} is not one of those of {response.status_code}")

    @schemathesis.check
    def nothing_is_anothers(ctx: Any, response: Any, case: Any) -> None:
        text = text_of(response.request)
        who = next(
            (name for name, key in run.keys.items() if key in response.request.headers.get("Authorization", "")), ""
        )
        if not who:
            return
        run.named(who, case.operation.definition.raw["operationId"], response)
        name = run.leaked(who, response.status_code, response.content, text)
        if name is not None:
            raise AssertionError("the answer holds an id which is another's")
        if response.status_code < 300:
            run.learn(who, response.content)
            if who == run.me:
                run.after_success(case, response.request)

    @schemathesis.hook
    def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
        """Hear of every failed check; no other hook does while the engine runs."""
        sent = response.request
        if type(failure).__name__ == "AcceptedNegativeData" and any(
            f"- {name}:" in failure.message for name in NARROWER
        ):
            return False
        run.complain(
            case.operation.definition.raw["operationId"],
            type(failure).__name__,
            f"{failure.title}: {failure.message}",
            f"{sent.method} {sent.url} {dict(sent.headers)} {sent.body!r}",
            (response.status_code, response.content),
        )
        return True


def config(run: Run, seed: int, phase: str, examples: int, mode: str) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": run.url,
            "headers": {"Authorization": f"Bearer {run.keys[run.me]}"},
            "continue-on-failure": True,
            "request-timeout": 60,
            "workers": 1,
            "cache": {"enabled": False},
            "suppress-health-check": ["all"],
            "generation": {"no-shrink": True, "max-examples": examples, "database": "none", "mode": mode},
            "checks": {"enabled": False, **{name: {"enabled": True} for name in (*CHECKS, *OUR_CHECKS)}},
            "phases": {"enabled": False, phase: {"enabled": True}},
        }
    )


PLAN = [("stateful", 25), ("fuzzing", 6), ("stateful", 25), ("fuzzing", 6), ("examples", 1), ("coverage", 5)]
MORE_TURNS = 4  # for operations that nothing has come of yet
MORE_REQUESTS = 20  # for each of them, in a turn


def play(run: Run) -> None:
    """Run one phase after the other, as one merchant and the other in turn, until enough has been sent.

    The coverage phase makes the same requests each time: it is run once for each merchant. Where nothing has come of an
    operation in the end, requests that are right in form are made for it alone.
    """
    prime(run)
    turn = 0
    while run.sent < run.told["count"]:
        phase, examples = PLAN[turn % len(PLAN)]
        if phase in ("coverage", "examples") and turn >= 3 * len(PLAN):
            phase, examples = "fuzzing", 15
        one_phase(run, turn, phase, examples, "all", run.told.get("only") or run.operations)
        turn += 1
    for _ in range(MORE_TURNS):
        missing = [name for name in run.operations if not run.succeeded(name)]
        if missing and "only" not in run.told:
            run.limit = run.sent + MORE_REQUESTS * len(missing)
            one_phase(run, turn, "fuzzing", 15, "positive", missing)
            turn += 1
    sweep(run)
    without_a_key(run)


def without_a_key(run: Run) -> None:
    """Send what went well once more without a key, and with keys nobody has."""
    for operation, request in run.done.items():
        for sent in (None, "Bearer sk_nobody", "Basic c2tfeDo="):
            again = request.copy()
            del again.headers["Authorization"]
            if sent is not None:
                again.headers["Authorization"] = sent
            got = run.session.send(again, timeout=60)
            run.strangers[operation][str(got.status_code)] += 1
            if got.status_code != 401:
                why = f"with {sent} for a key it is answered {got.status_code}"
                run.complain(operation, "let_in", why, f"{again.method} {again.url}", got.content)


def sweep(run: Run) -> None:
    """Ask for what each merchant has with the other's key, by every operation whose path names something.

    Each time under a new Idempotency-Key, so that nothing is answered before it is looked for.
    """
    for turn in range(2):
        run.me = list(run.keys)[turn]
        for operation, request in run.done.items():
            kind = KINDS[operation][0] if operation in KINDS else ""
            for name in list(run.known[run.me].objects[kind])[-SWEPT:]:
                if run.owners[f"{kind} {name}"] == {run.me}:
                    url = re.sub(r"(/v1/\w+/)[^/?]+", lambda found, name=name: found[1] + name, request.url, count=1)
                    if "Idempotency-Key" in (fresh := request.copy()).headers:
                        fresh.headers["Idempotency-Key"] = f"sweep-{run.me}-{operation}-{name}"
                    run.ask_as_the_other(operation, fresh, url, [name])


def prime(run: Run) -> None:
    """Have both merchants read all their lists, so that what they have from before is known to be theirs."""
    for path, methods in run.told["document"]["paths"].items():
        if "get" in methods and "{id}" not in path:
            for who, key in run.keys.items():
                got = run.session.get(run.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=60)
                run.learn(who, got.content)


def one_phase(run: Run, turn: int, phase: str, examples: int, mode: str, operations: Sequence[str]) -> None:
    run.me, before, told_at = list(run.keys)[turn % 2], run.sent, time.monotonic()
    seed = run.told["seed"] * 1000 + turn
    document = json.loads(json.dumps(run.told["document"]))
    schema = schemathesis.openapi.from_dict(document, config=config(run, seed, phase, examples, mode))
    run.stream = engine.from_schema(schema.include(operation_id=list(operations))).execute()
    for event in run.stream.generator:
        if isinstance(event, events.NonFatalError | events.FatalError):
            why = repr(getattr(event, "exception", None) or getattr(event, "value", event))
            run.complain(getattr(event, "label", "") or phase, "the tester's own error", why, "", "")
        if time.monotonic() - told_at > PROGRESS_S:
            told_at = time.monotonic()
            say(run, phase)
    run.stream = None
    say(run, phase, f"sent {run.sent - before}")


def say(run: Run, phase: str, more: str = "") -> None:
    foreign = sum(sum(counts.values()) for counts in run.foreign.values())
    far = f"{run.sent} of {run.told['count']}, {foreign} again as the other, {sum(run.wrong.values())} wrong"
    print(f"{far}; {phase} as {run.me} {more}", file=sys.stderr, flush=True)


def main() -> None:
    run = Run(json.load(sys.stdin))
    install(run)
    play(run)
    print(
        json.dumps(
            {
                "sent": run.sent,
                "answers": {name: dict(sorted(counts.items())) for name, counts in run.answers.items()},
                "codes": {name: dict(counts.most_common()) for name, counts in run.codes.items()},
                "as_another": {name: dict(sorted(counts.items())) for name, counts in run.foreign.items()},
                "without_a_key": {name: dict(counts) for name, counts in run.strangers.items()},
                "wrong": dict(run.wrong.most_common()),
                "details": run.details,
            }
        )
    )


main()
