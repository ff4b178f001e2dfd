"""That payers are shown what the rails' pages in docs/rails/ say."""

import orjson
import pytest

from channels import Method, Pending
from gateway.payments.shown import to_keep
from tests.contract.counterparties import SHOWN, Payer
from tests.contract.plays import Play, plays
from tests.docs.rail_pages import example, has_page, page_of, shape

pytestmark = pytest.mark.asyncio(loop_scope="session")


@plays(when=lambda rail: has_page(rail.name), method=lambda rail: sorted(rail.methods))
async def test_the_example_in_a_rails_page_has_the_members_that_a_payment_has(play: Play, method: Method) -> None:
    order = play.order(method, payer=Payer.ASKS)
    _, outcome = await play.carried(order, await play.client.pay(order))
    assert isinstance(outcome, Pending)
    shown = outcome.next_action
    assert shown is not None or method not in SHOWN
    told = example(page_of(play.rail.name), method.value)
    kept = to_keep(outcome, play.rail.name)
    stored = None if kept is None else orjson.loads(kept)
    assert (told and shape(told)) == (stored and shape(stored))
