"""A process that owns the servers of a home, to be killed: prints their addresses as JSON, then waits."""

import asyncio
import json
import sys
from pathlib import Path

from ops import embedded


async def main(home: Path) -> None:
    async with embedded.postgres(home) as database, embedded.valkey(home) as streams:
        facts = {
            "pids": [database.pid, streams.pid],
            "database_url": database.url,
            "redis_url": streams.url,
        }
        print(json.dumps(facts), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except embedded.CannotStart as error:
        sys.exit(f"{type(error).__name__}: {error}")
