"""A client that a public generator makes of docs/openapi.json does a merchant's business with a hub that runs.

The generator is openapi-python-client; it and what its client needs are in an environment of their own.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.ops.trials.replay.running import a_running_hub
from tests.sdk.environments import python_of, run

SCRIPT = Path(__file__).with_name("generated_client.py")
DOCUMENT = ROOT / "docs" / "openapi.json"
# The generator formats what it made with ruff, which nobody reads here.
CONFIG = {"package_name_override": "sluice_client", "post_hooks": []}


def generated(document: dict[str, Any], place: Path) -> Path:
    """Make a client of a document in a folder of `place` and return it. Fails where the generator warns of anything."""
    (place / "openapi.json").write_text(json.dumps(document))
    (place / "config.json").write_text(json.dumps(CONFIG))
    command = [
        *(python_of("openapi-client"), "-I", "-m", "openapi_python_client", "generate"),
        *("--path", place / "openapi.json", "--config", place / "config.json", "--meta", "none"),
        *("--output-path", place / "sluice_client", "--fail-on-warning"),
    ]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search("(?i)warning|omitted|error", said), said
    return place / "sluice_client"


@pytest.mark.long
def test_a_generated_client_takes_a_payment_refunds_it_and_reads_the_events(tmp_path: Path) -> None:
    document = json.loads(DOCUMENT.read_text("utf-8"))
    client = generated(document, tmp_path)
    operations = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert sorted(path.stem for path in client.glob("api/*/[a-z]*.py")) == sorted(operations)
    with a_running_hub() as hub:
        prepare = [sys.executable, "-m", "loadtests.prepare"]
        me = subprocess.run(prepare, env=hub.environment, cwd=ROOT, capture_output=True, check=True).stdout
        found = run("openapi-client", SCRIPT, told={"place": str(tmp_path), **json.loads(me)})
    assert found["made"] == [201, "requires_action", 1250, "Payment"]
    assert found["paid"] == ["succeeded", 1250, True]
    assert found["refunded"] == ["succeeded", 250, True, 250]
    assert [name for name, _ in found["events"]] == [
        "channel_account.added",
        "payment.created",
        "payment.requires_action",
        "payment.succeeded",
        "refund.created",
        "refund.succeeded",
    ]
    assert found["problems"] == [
        [422, "amount_not_positive", True],
        [404, "no_such_payment", True],
        [401, "key_unknown", True],
    ]
    assert found["param"] == "amount"


def test_an_answer_that_the_generator_leaves_out_is_noticed(tmp_path: Path) -> None:
    document = json.loads(DOCUMENT.read_text("utf-8"))
    code = document["components"]["schemas"]["Problem"]["properties"]["code"]
    code["anyOf"] = [{"enum": ["busy"]}, {"pattern": "^bank_"}]
    problem = document["components"]["responses"]["NoSuchRoute"]["content"]["application/problem+json"]["schema"]
    narrowed = {"allOf": [{**problem}, {"type": "object", "properties": {"code": {"enum": ["busy"]}}}]}
    document["paths"]["/v1/events"]["get"]["responses"]["404"] = {
        "description": "a code of its own",
        "content": {"application/problem+json": {"schema": narrowed}},
    }
    with pytest.raises(AssertionError, match="will be omitted"):
        generated(document, tmp_path)
