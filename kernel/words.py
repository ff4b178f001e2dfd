"""What pydantic finds wrong with a value, in words for the person who sent it: no word of the library's own."""

import re

from pydantic_core import ErrorDetails

# pydantic's error type → what to send; {…}: what pydantic says of the bound
WORDS = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "int_type": "send a whole number, without quotes",
    "int_from_float": "send a whole number, without a fraction",
    "int_parsing": "send a whole number, without quotes",
    "int_parsing_size": "that is more than any number here",
    "float_type": "send a number, without quotes",
    "float_parsing": "send a number, without quotes",
    "finite_number": "send a number, without quotes",
    "greater_than": "send more than {gt}",
    "greater_than_equal": "send {ge} or more",
    "less_than": "send less than {lt}",
    "less_than_equal": "send {le} or less",
    "string_type": "send text in quotes",
    "string_unicode": "send text in UTF-8",
    "string_too_short": "send at least {min_length} character{s}",
    "string_too_long": "send at most {max_length} character{s}",
    "string_pattern_mismatch": "send text of the form {pattern}",
    "bool_type": "send true or false, without quotes",
    "bool_parsing": "send true or false, without quotes",
    "dict_type": "send an object: {{…}}",
    "model_type": "send an object: {{…}}",
    "model_attributes_type": "send an object: {{…}}",
    "list_type": "send a list: […]",
    "tuple_type": "send a list: […]",
    "set_type": "send a list: […]",
    "too_short": "send at least {min_length} {of_what}",
    "too_long": "send at most {max_length} {of_what}",
    "literal_error": "send one of {expected}",
    "enum": "send one of {expected}",
    "union_tag_invalid": "send one of {expected_tags}",
    "union_tag_not_found": "is required",
    **dict.fromkeys(
        (
            "datetime_type",
            "datetime_parsing",
            "datetime_from_date_parsing",
            "datetime_object_invalid",
            "timezone_aware",
            "timezone_naive",
        ),
        "there is no such day or time; send one such as 2026-11-24T08:30:00Z",
    ),
}
_OURS = ("value_error", "card_number")  # their words are ours already
_PLACE = re.compile(r"at line (\d+) column (\d+)")


def in_words(error: ErrorDetails, *, do: str = "send") -> str:
    """Return what is wrong, and what to send instead. do: what a person does with such a value, where not that."""
    kind, facts = error["type"], dict(error.get("ctx", {}))
    if kind in _OURS or kind not in WORDS:
        return error["msg"].removeprefix("Value error, ")
    count = facts.get("min_length", facts.get("max_length"))
    facts["s"] = "" if count == 1 else "s"
    one, more = ("name", "names") if facts.get("field_type") == "Dictionary" else ("entry", "entries")
    facts["of_what"] = one if count == 1 else more
    return WORDS[kind].replace("send ", f"{do} ", 1).format(**facts)


def not_json(error: ErrorDetails) -> str:
    """Return why a text is no JSON, and where."""
    said = str(error.get("ctx", {}).get("error", error["msg"]))
    where = _PLACE.search(said)
    place = f" at line {where[1]}, column {where[2]}" if where else ""
    if "EOF" in said:
        return f"it ends too early{place}"
    if "recursion" in said:
        return f"it is nested too deeply{place}"
    if "unicode" in said.lower() or "surrogate" in said:
        return f"it is not UTF-8{place}"
    return f"something is wrong{place}"
