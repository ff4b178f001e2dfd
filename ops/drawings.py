"""docs/states.md: the state tables of every package, drawn. `make fix` draws, `make check` compares."""

import sys
from pathlib import Path

from cases.states import CASE
from gateway.states import ATTEMPT, CHARGEBACK, PAYMENT, REFUND
from kernel.states import draw
from ops.money_states import drawing
from people.states import APPROVAL, PERSON
from reconciliation.states import DISCREPANCY
from splitting.states import (
    BATCH,
    FETCHING,
    FILE,
    INSTRUCTION,
    PLAN_VERSION,
    RAIL_PART,
    RECALL,
    RECEIVER,
    SHARING,
    SUB_ACCOUNT,
    WITHDRAWAL,
)


def document() -> str:
    """Return docs/states.md as the tables say it should be."""
    return "\n".join(
        [
            "# State tables 状态表",
            "",
            "Drawn from the tables in the code by `make fix`; `make check` fails when this page is stale.",
            "",
            "A drawing shows the main path only. The table below it has every move: a row is the state an object is",
            "in, a column what happens to it, a cell what it becomes and the event that is published with the move.",
            "A move that stays may leave the event out, where nothing is new. `–` is refused. In a state with ∗ an",
            "object may be made.",
            "",
            draw("gateway: payment", PAYMENT),
            draw("gateway: attempt", ATTEMPT),
            draw("gateway: refund", REFUND),
            draw("gateway: chargeback", CHARGEBACK),
            draw("splitting: plan_version", PLAN_VERSION),
            draw("splitting: instruction", INSTRUCTION),
            draw("splitting: batch", BATCH),
            draw("splitting: withdrawal", WITHDRAWAL),
            draw("splitting: sub_account", SUB_ACCOUNT),
            draw("splitting: recall", RECALL),
            draw("splitting: file", FILE),
            draw("splitting: receiver", RECEIVER),
            draw("splitting: sharing", SHARING),
            draw("splitting: rail_part", RAIL_PART),
            draw("splitting: fetching", FETCHING),
            draw("cases: case", CASE),
            draw("people: person", PERSON),
            draw("people: approval", APPROVAL),
            draw("reconciliation: discrepancy", DISCREPANCY),
            drawing(),
        ]
    )


def main() -> int:
    """Write docs/states.md, or with --check only say whether it is current."""
    check, path = "--check" in sys.argv, Path(sys.argv[-1])
    wanted = document()
    if not check:
        path.write_text(wanted, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
        print(f"{path} does not show the state tables as they are: run `make fix` and commit it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
