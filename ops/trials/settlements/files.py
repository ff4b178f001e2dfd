"""The banks' files: read, set aside for the right reason, and what two people do about each."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.trials.settlements import spoils
from ops.trials.settlements.cast import CMB, ISO
from ops.trials.settlements.scene import Scene


class Files(Scene):
    """See the module."""

    async def _listed(self) -> list[dict[str, Any]]:
        """Return every file of the hub's, oldest first."""
        words = ("bank", "files", "list", "--book", str(self._book), "--limit", "100000", "--json")
        return list(reversed((await self._town.desk.type(*words, code=None)).told["files"]))

    async def _files_read(self) -> None:
        """Wait until the hub has every file that the bank wrote, with a fate; then see to those that are set aside."""

        async def lacking() -> str:
            known = {one["file_id"]: one["fate"] for one in await self._listed()}
            wanted = [one for one in await self._of_the_bank("files") if one["type"] != "camt.053"]
            return ", ".join(
                f"{one['name']} is {known.get(one['file_id'], 'not read')}"
                for one in wanted
                if known.get(one["file_id"], "received") == "received"
            )

        await self._until("every file of the bank's is read", lacking, pause_s=0.3)
        await self._handle_files()

    async def _of_the_bank(self, what: str) -> list[dict[str, Any]]:
        """Ask the bank, as its customer, for all files or accounts."""
        enrolment, found, after = self._banks[ISO].enrolment, list[dict[str, Any]](), "0"
        token = await asyncio.to_thread(Path(enrolment["token_file"]).read_text)
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            url = f"{enrolment['base_url']}/{what}?after={after}"
            async with self._session.get(url, headers=headers) as answer:
                page = await answer.json()
            found += page[what]
            if page["next"] == after or not page[what]:
                return found
            after = page["next"]

    async def _sub_accounts(self) -> list[dict[str, Any]]:
        return await self._of_the_bank("accounts")

    async def _handle_files(self) -> int:
        """See that every file that is set aside was spoiled, and for the right reason; do what clerks do about it.

        Return how many were.
        """
        files = await self._listed()
        waiting = [one for one in files if one["fate"] == "quarantined" and one["id"] not in self._handled]
        if not waiting:
            return 0
        path = f"/control/bank/spoiled?customer_id={self._banks[ISO].enrolment['customer_id']}"
        known = {one["file_id"]: one["fault"] for one in (await self.world.control("GET", path))["files"]}
        for file in waiting:
            self._handled.add(file["id"])
            way = known.get(file["file_id"]) if file["bank"] == ISO else "other_amount"
            codes = (
                (spoils.CMB_WAYS["other_amount"][1],)
                if file["bank"] == CMB
                else spoils.WAYS.get(way or "", ((), ()))[1]
            )
            if way is None or file["code"] not in (codes or ()):
                self.wrongs.append(
                    f"{file['name']} is quarantined as {file['code']}, it was spoiled by {way}: {file['why']}"
                )
                continue
            await self._behind(file)
            remedy = "discard" if file["bank"] == CMB else spoils.remedy(way, file["type"])
            self.spoiled.append({"file": file["name"], "way": way, "code": file["code"], "remedy": remedy})
            self._say(f"  {file['name']} is quarantined: {file['code']}; two people {remedy} it")
            await self._remedy(file, remedy)
        return len(waiting)

    async def _behind(self, file: Mapping[str, Any]) -> None:
        """Wait until what came after a file that is set aside has been applied: before anybody does anything about it.

        Raises InVain.
        """

        async def lacking() -> str:
            files = await self._listed()
            after = files[[one["id"] for one in files].index(file["id"]) + 1 :]
            return ", ".join(one["name"] for one in after if one["fate"] == "received")

        await self._until(f"what is behind {file['name']} is applied", lacking, pause_s=0.3)

    async def _remedy(self, file: Mapping[str, Any], remedy: str) -> None:
        words = ["bank", "files", remedy, file["id"], "--note", "as the bank says on the telephone"]
        if file["bank"] == CMB:  # which mends its answer; what it said before is discarded
            await self.world.forget_fault(self._cmb_fault)
        if remedy == "replace":
            url = f"{self._town.sandbox_url}/control/bank/files/{file['file_id']}/meant"
            async with self._session.get(url) as answer:
                mailed = self._folder / f"by-mail-{file['file_id']}.xml"
                mailed.write_bytes(await answer.read())
            words += ["--with", str(mailed)]
        await self._town.desk.by_two(*words)
