"""A route's record, and the parameters that records share."""

from typing import Any

import pytest

from kernel.errors import NotFound, Rejected
from kernel.routes import LIMIT, Call, Reply, Route, a_name, an_id, listed, made, one_of, starting_after
from kernel.shapes import Body

ID = "pay_" + "0" * 26


async def read_tea(call: Call[Any]) -> Reply:
    return Reply({})


def a_route(**more: Any) -> Route[Any]:
    return Route(
        **{"method": "GET", "path": "/v1/tea", "scope": "tea", "handler": read_tea, "says": "", "answer": Any, **more}
    )


def test_a_route_has_the_name_of_its_handler() -> None:
    assert a_route().name == "read_tea"


@pytest.mark.parametrize("wrong", [{"path": "/v1/tea/{id}"}, {"ident": an_id("pay", "the payment")}, {"body": dict}])
def test_a_record_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="GET /v1/tea"):
        a_route(**wrong)


def test_a_record_may_have_a_body_and_what_stands_in_its_path() -> None:
    assert a_route(path="/v1/tea/{id}", ident=an_id("pay", "the payment"), body=Body).body is Body


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("20", 20), ("100", 100), ("007", 7)])
def test_a_limit_is_read(text: str, number: int) -> None:
    assert LIMIT.read(text) == number


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.0", "1 ", "٣", "0001", "1000000"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="limit must be a number from 1 to 100"):
        LIMIT.read(text)


@pytest.mark.parametrize("text", ["", "pay_", ID[:-1], ID + "0", "re_" + "0" * 26, ID[:-1] + "g", ID + "_1"])
def test_an_id_of_another_kind_or_form_is_refused(text: str) -> None:
    with pytest.raises(NotFound, match="no_such_object"):
        an_id("pay", "the payment").read(text)
    with pytest.raises(Rejected, match="invalid_cursor"):
        starting_after("pay").read(text)


def test_an_id_is_read_as_it_stands() -> None:
    assert an_id("pay", "the payment").read(ID) == starting_after("pay").read(ID) == ID


def test_a_name_has_its_own_refusal() -> None:
    tea = a_name("[a-z]{3}", "the tea", lambda name: NotFound("no_such_tea", f"no {name}"))
    assert tea.read("oat") == "oat"
    with pytest.raises(NotFound, match="no_such_tea: no OAT"):
        tea.read("OAT")


def test_one_of_some_words_takes_no_other() -> None:
    status = one_of("status", "", ["hot", "cold"])
    assert status.read("hot") == "hot"
    with pytest.raises(Rejected, match="status must be one of hot, cold"):
        status.read("warm")


def test_a_list_says_whether_there_is_more_and_holds_no_more_than_asked() -> None:
    assert listed([1, 2, 3], 2).body == {"object": "list", "data": [1, 2], "has_more": True}
    assert listed([1, 2], 2).body == {"object": "list", "data": [1, 2], "has_more": False}


def test_what_was_made_before_is_not_told_as_made_now() -> None:
    assert made({}) == Reply({}, 201)
    assert made({}, replayed=True) == Reply({}, 200, True)


def test_a_call_without_a_limit_or_a_cursor_lists_twenty_from_the_start() -> None:
    call = Call(1, "key", key="", ident="", query={}, body=None, raw=b"")
    assert (call.limit, call.after) == (20, None)
