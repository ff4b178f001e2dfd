"""WeChat Pay's own tables, and the books of a store from before it was on the shared core."""

from pathlib import Path

from sandbox import acquirer, keys
from sandbox.context import SandboxContext
from sandbox.wechat.wire import app_secret

HERE = Path(__file__).parent


def make_room(ctx: SandboxContext) -> None:
    """Make WeChat Pay's own tables; what an older store keeps of its trades moves into the core's books, once."""
    schema = (HERE / "schema.sql").read_text()
    if ctx.store.one("SELECT 1 FROM sqlite_master WHERE name = 'wechat_trade'") is None:
        ctx.store.create(schema)
        return
    acquirer.make_room(ctx)
    for row in ctx.store.all("SELECT mchid, apiv3_key FROM wechat_merchant"):
        file = ctx.home / "wechat" / row["mchid"] / "app_secret.txt"
        if not file.exists():  # older still
            keys.write_file(file, app_secret(row["apiv3_key"]).encode(), secret=True)
    script = (HERE / "carry_over.sql").read_text().replace("-- schema.sql\n", schema)
    # The script drops tables that others refer to, and makes them again.
    ctx.store.create(f"PRAGMA foreign_keys=OFF; BEGIN IMMEDIATE; {script} COMMIT; PRAGMA foreign_keys=ON;")
