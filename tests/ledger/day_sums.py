"""The days' sums made from the journal, as the migration that began to keep them did."""

from kernel.db import Connection
from ops.migrate import MIGRATIONS


async def summed_up_anew(connection: Connection) -> None:
    """Forget what is kept by day and take it from the journal. connection: of one whom no trigger stops."""
    text = (MIGRATIONS / "0032_keep_day_sums.sql").read_text()
    fills = text[text.index("INSERT INTO day_sum") : text.index("CREATE TRIGGER day_end")]
    statements = [one for one in fills.split(";\n") if not one.strip().startswith("CREATE INDEX")]
    await connection.execute("DELETE FROM day_sum; DELETE FROM day_end; UPDATE account SET moved_on = NULL;")
    await connection.execute(";\n".join(statements))
