"""What a payer is offered: the ways to pay that this device can go and the merchant's accounts take just now."""

from collections.abc import Mapping

from channels import Method
from gateway.cashier import screens
from gateway.cashier.device import Device
from gateway.cashier.payers import Payers
from gateway.cashier.screens import Way
from gateway.cashier.visits import Visit, Visits
from gateway.payments.payments import Payments
from gateway.tables import Payment
from kernel.errors import Conflict


class Offers:
    """See the module."""

    def __init__(self, *, payments: Payments, payers: Payers, visits: Visits) -> None:
        self._payments = payments
        self._payers = payers
        self._visits = visits

    async def offer(self, visit: Visit) -> Mapping[str, object]:
        """Return what the page of choices shows. alone: there is one way only, so there is nothing to choose."""
        who, say = visit.device, visit.say
        try:
            await self._payments.require_standing(visit.payment.book)
        except Conflict:  # nothing could be begun, so nothing is offered
            return {"ways": [], "scan_with": [], "in_app": False, "alone": False, "heading": say("title")}
        offered = await self._payments.offered(visit.payment, [*visit.methods])
        ways = [way for way in screens.ways(who, visit.methods, offered) if await self._works(visit.payment, way)]
        scan: list[str] = []
        if who.rail is None and not who.on_phone:
            scan = [say.rail(rail) for rail in await self._scanning(visit)]
        alone = len(ways) == 1 and not scan
        heading = (
            say("pay_with", rail=say.rail(ways[0].channel)) if alone else say("choose" if ways or scan else "title")
        )
        return {"ways": ways, "scan_with": scan, "in_app": who.rail is not None, "alone": alone, "heading": heading}

    async def _scanning(self, visit: Visit) -> list[str]:
        """Return the rails whose app, having scanned the page's address, can pay in it."""
        browsers, in_browser = await self._visits.apps(visit.payment.book)
        found = []
        for rail in browsers:
            methods = in_browser.get(rail, ())
            offered = await self._payments.offered(visit.payment, methods)
            inside = screens.ways(Device(rail, on_phone=True), methods, offered)
            if any([await self._works(visit.payment, way) for way in inside]):
                found.append(rail)
        return found

    async def _works(self, payment: Payment, way: Way) -> bool:
        """Tell whether a way can be gone."""
        return way.method is not Method.JSAPI or await self._payers.can_be_known(payment, way.channel)
