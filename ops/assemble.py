"""Write the first migration from the packages' schema.sql files. From the second on they are written by hand.

A test proves that all migrations together give what the schema.sql files say.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ["kernel", "ledger", "streams", "cases", "people", "splitting", "gateway", "reconciliation"]
FIRST = ROOT / "ops" / "migrations" / "0001_create_the_hub.sql"


def schema() -> str:
    """Return the whole schema as the packages and ops/roles.sql state it, in the order of their dependence."""
    files = [ROOT / package / "schema.sql" for package in PACKAGES] + [ROOT / "ops" / "roles.sql"]
    return "\n".join(f"-- {path.parent.name}\n{path.read_text(encoding='utf-8')}" for path in files if path.exists())


def main() -> None:
    """Write the file."""
    # dbmate keeps its own table of applied versions; the hub's role has no business there.
    own = "REVOKE ALL ON schema_migrations FROM sluice_app;\nGRANT SELECT ON schema_migrations TO sluice_app;\n"
    FIRST.write_text(f"-- migrate:up\n\n{schema()}\n{own}\n-- migrate:down\n", encoding="utf-8")


if __name__ == "__main__":
    main()
