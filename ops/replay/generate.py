"""A trading day of a shop that does not exist: untidy as real ones are, and the same for the same seed."""

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path

GOODS = [
    ("1", "STONEWARE BOWL", 6.75),
    ("2", "TEA TIN, GREEN", 3.25),
    ("2", "PAPER LANTERN", 2.10),
    ("4", "BRASS HOOK", 1.65),
    ("5", "WOOL SCARF", 18.95),
    ("7", "BAMBOO TRAY", 9.50),
    ("8", "CERAMIC CUP", 4.25),
    ("9", "INK BRUSH SET", 12.75),
]


def write(path: Path, seed: int, *, orders: int = 120) -> None:
    """Write a day of about `orders` invoices; some canceled, some of zero total, some of nobody's."""
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    at = datetime(2026, 1, 5, 8, 0)
    customers = [str(20_000 + n) for n in range(orders // 3)]
    bought: dict[str, list[list[tuple[str, str, int, float]]]] = {}
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(
            ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
        )

        def put(number: str, lines: list[tuple[str, str, int, float]], customer: str) -> None:
            for code, name, quantity, price in lines:
                out.writerow([number, code, name, quantity, at, f"{price:.2f}", customer, "China"])

        for n in range(orders):
            at += timedelta(seconds=rng.randint(60, 420))
            number, customer = str(700_000 + n), rng.choice(customers) if rng.random() < 0.9 else ""
            dice = rng.random()
            if dice < 0.04:
                put(number, [("85000", "damaged, written off", -rng.randint(1, 9), 0.0)], "")
                continue
            if dice < 0.12 and bought:
                customer = rng.choice(sorted(bought))
                code, name, quantity, price = rng.choice(rng.choice(bought[customer]))
                put("C" + number, [(code, name, -rng.randint(1, quantity), price)], customer)
                continue
            if dice < 0.15:
                put("C" + number, [("21000", "returned by a stranger", -rng.randint(1, 5), 4.95)], "29999")
                continue
            lines = []
            for _ in range(rng.randint(1, 9)):
                digit, name, price = rng.choice(GOODS)
                lines.append((f"{digit}{rng.randint(1000, 9999)}", name, rng.randint(1, 12), price))
            if rng.random() < 0.2:
                lines.append(("POST", "POSTAGE", 1, 8.0))
            if rng.random() < 0.1:
                lines.append(("D", "Discount", -1, round(0.05 * sum(q * p for _, _, q, p in lines), 2)))
            if customer:
                bought.setdefault(customer, []).append([line for line in lines if line[2] > 0 and line[0][0].isdigit()])
            put(number, lines, customer)
