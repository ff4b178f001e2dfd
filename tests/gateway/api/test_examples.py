"""The examples of the document are what a real hub is sent and answers, and they are of the document's own forms."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from gateway.door.openapi import EXAMPLES, PLAIN, examples_of
from tests.documented import closed, openapi
from tests.gateway.api.story import a_story, blurred, play

OPERATIONS = {
    operation["operationId"]: operation for methods in openapi()["paths"].values() for operation in methods.values()
}
RECORDED = json.loads(EXAMPLES.read_text("utf-8"))


async def test_a_hub_that_is_asked_what_the_examples_ask_answers_what_they_say(
    database_url: str, tmp_path: Path
) -> None:
    async with a_story(database_url, tmp_path) as story:
        await play(story)
    assert story.faults == []
    found = blurred(story.told)
    if os.environ.get("SLUICE_WRITE_EXAMPLES") and found != blurred(RECORDED):
        EXAMPLES.write_text(json.dumps(story.told, ensure_ascii=False, indent=1) + "\n", "utf-8")
        return
    recorded = blurred(RECORDED)
    assert list(found) == list(recorded), "another step: make examples"
    for name, step in found.items():
        assert step == recorded[name], f"{name} is not what it was: make examples"


def test_a_replay_that_differs_in_more_than_ids_and_times_is_noticed() -> None:
    paid = RECORDED["get_payment"]
    text = json.dumps(paid)
    ident = paid["answer"]["id"]
    same = text.replace(ident, "pay_" + "0" * 26).replace(paid["answer"]["created_at"], "2030-01-01T00:00:00.000Z")
    assert blurred({"a": json.loads(same)}) == blurred({"a": paid})
    assert blurred({"a": json.loads(text.replace("12800", "12801"))}) != blurred({"a": paid})
    elsewhere = {**paid, "answer": {**paid["answer"], "id": "pay_" + "0" * 26}}
    assert blurred({"a": elsewhere}) != blurred({"a": paid}), "one id that stands for two"


def test_every_operation_has_an_example_of_what_is_sent_and_answered() -> None:
    assert {name.partition(".")[0] for name in RECORDED} == OPERATIONS.keys()
    for name, step in RECORDED.items():
        name, _, example = name.partition(".")
        operation, example = OPERATIONS[name], example or PLAIN
        body = operation.get("requestBody")
        assert body is None or examples_of(body["content"]["application/json"])[example] == step["body"], name
        assert any(
            step["answer"] == examples_of(media).get(example)
            for media in operation["responses"][f"{step['status']}"]["content"].values()
        )


def test_the_examples_can_be_sent_one_after_the_other() -> None:
    keys = [step["idempotency_key"] for step in RECORDED.values() if "idempotency_key" in step]
    assert len(keys) > 8
    assert len(set(keys)) == len(keys), "a key that is used twice is refused the second time"
    shown = [
        key
        for operation in OPERATIONS.values()
        for parameter in operation["parameters"]
        if parameter["name"] == "Idempotency-Key"
        for key in examples_of(parameter).values()
    ]
    assert sorted(shown) == sorted(keys)
    for name in ("create_payment", "create_payee"):
        assert not {"split", "bank"} & RECORDED[name]["body"].keys(), "the first needs nothing made before it"


@pytest.mark.parametrize("name", RECORDED)
def test_an_example_is_of_the_form_that_the_document_says(name: str) -> None:
    operation, example = OPERATIONS[name.partition(".")[0]], RECORDED[name]
    if "body" in example and "requestBody" in operation:
        assert _faults(operation["requestBody"]["content"]["application/json"]["schema"], example["body"]) == []
    content = operation["responses"][str(example["status"])]["content"]
    if "application/json" in content:
        assert _faults(content["application/json"]["schema"], example["answer"]) == []


def _faults(schema: Any, value: Any) -> list[str]:
    components = {"schemas": closed(openapi()["components"]["schemas"])}
    validator = Draft202012Validator({**schema, "components": components}, validate_formats=True)
    return [str(error) for error in validator.iter_errors(value)]


def test_no_example_holds_a_secret_or_an_address_of_a_machine() -> None:
    text = EXAMPLES.read_text("utf-8")
    for word in ("127.0.0.1", "localhost", "PRIVATE KEY-----\\nM", "Bearer"):
        assert word not in text
    assert not re.search(r"(sk|whsec)_[a-z_]*[0-9A-Za-z]{8}", text)
