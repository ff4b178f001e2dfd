"""Taking on the merchant, its banks and rails, whoever is paid, and the plans by which they share."""

import json
from datetime import date
from typing import Any

from channels import CHANNELS, capabilities_of
from channels.powers import deposit_prefix
from ops.trials.replay.rails import CAST, RailAccount, sign_up
from ops.trials.replay.world import World
from ops.trials.settlements.cast import CMB, ISO, POLICIES, document
from ops.trials.settlements.files import Files
from ops.trials.settlements.scene import PATIENCE_S, Bank


class Opening(Files):
    """See the module."""

    async def _open(self, on: date) -> None:
        """Take the merchant, the banks, the payees, the plans and the channel accounts on."""
        self._say("taking a merchant on 开户")
        desk, town = self._town.desk, self._town
        await desk.type("person", "add", "ada", "--first")
        await desk.type("person", "add", "cy", "--role", "operator", "--keep")
        made = (await desk.type("merchant", "add", "guild", "--json")).told
        self._book = made["book"]
        second = (await desk.type("key", "new", "--book", str(self._book), "--scope", "channels", "--json")).told
        self.world = World(self._session, town.hub_url, made["api_key"], town.sandbox_url, patience_s=PATIENCE_S)
        checker = World(self._session, town.hub_url, second["api_key"], town.sandbox_url, patience_s=PATIENCE_S)
        await self._link_banks()
        await self._register()
        ids = {one.name: one.id for one in [*self.people, self._platform]}
        for policy in POLICIES:
            body = {"name": f"four levels, {policy}", "currency": "CNY", "document": document(ids, policy)}
            plan = await self.world.hub("POST", "/v1/split_plans", body)
            act = {"version": 1, "hash": plan["versions"][0]["hash"]}
            await checker.hub("POST", f"/v1/split_plans/{plan['id']}/activate", act)
            attached = {"to": "store", "subject": policy} if policy != POLICIES[0] else {"to": "merchant"}
            await checker.hub("PUT", "/v1/split_attachments", {**attached, "currency": "CNY", "plan": plan["id"]})
        self.accounts = [await self._account(part) for part in CAST]
        wanted = {f"{name}:CNY" for name in self._banks} | {one.name for one in self.accounts}

        async def lacking() -> str:
            rows = (await desk.type("timetable", "--json", code=None)).told["rows"]
            return ", ".join(sorted(wanted - {row["of"] for row in rows}))

        await self._until("the timetable knows every bank and account", lacking, pause_s=0.5)

    async def _link_banks(self) -> None:
        control, desk = self.world.control, self._town.desk
        enrolments = {
            ISO: await control("POST", "/control/bank/customers", {"name": "guild"}),
            CMB: await control("POST", "/control/cmb/customers", {"name": "guild"}),
        }
        self._banks = {name: Bank(name, told, works_every_day=name == CMB) for name, told in enrolments.items()}
        for name, bank in self._banks.items():
            file = self._folder / f"{name}.json"
            file.write_text(json.dumps(bank.enrolment))
            book = ("--book", str(self._book))
            link = (await desk.by_two("bank", "link", *book, name, "--credentials", str(file))).told
            bank.pool = link["pool_account"]
            days = "--every-day" if bank.works_every_day else "--working-days"
            await desk.by_two("payout", "bank", *book, name, days, "--only-deposited")
            every = "D+1" if bank.works_every_day else "T+1"
            await desk.type("payout", "set", *book, name, "--every", every)

    async def _register(self) -> None:
        for one in self.people:
            kind = {"name": one.name, "kind": "supplier", "currency": "CNY", "bank": one.bank, "reference": one.name}
            if one.bank == CMB:
                opened = await self.world.control("POST", "/control/cmb/accounts", {"name": one.name})
                one.account = kind["account"] = opened["account"]
            one.id = (await self.world.hub("POST", "/v1/payees", kind))["id"]
        made = await self._town.desk.type("bank", "platform", "--book", str(self._book), ISO)
        self._platform.id = made.told["id"]
        numbers = {one["name"]: one["account"] for one in await self._sub_accounts()}
        for one in [*self.people, self._platform]:
            one.account = one.account or numbers[one.name]
        self._payee = {one.id: one for one in [*self.people, self._platform]}

    async def _account(self, part: Any) -> RailAccount:
        """Become a rail's merchant, and have the hub call it."""
        rail = CHANNELS[part.channel]
        pool, webhooks = self._banks[ISO].pool, not capabilities_of(rail).per_order_notices
        settings = await sign_up(
            self.world, part, pool=pool, hub_url=self._town.hub_url, book=self._book, webhooks=webhooks
        )
        file = self._folder / f"{part.account}.json"
        file.write_text(json.dumps(settings))
        await self._town.desk.type(
            "channel", "add", part.channel, part.account, "--book", str(self._book), "--credentials", str(file),
            "--fee-bp", str(part.fee_bp),
        )  # fmt: skip
        channel = rail(settings)
        methods = frozenset(str(method) for method in channel.capabilities.methods)
        return RailAccount(part, str(settings["merchant"]), methods, deposit_prefix(channel), settings)
