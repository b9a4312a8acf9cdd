"""Stock of parts: what is short, what it costs, and the order for the supplier."""

import json
from dataclasses import dataclass


@dataclass
class Part:
    """A part on the shelf."""

    number: str
    name: str
    supplier: str
    unit_price: float
    in_stock: int
    reorder_at: int


def load(path: str) -> list[Part]:
    """Load all parts."""
    with open(path) as file:
        return [Part(**row) for row in json.load(file)]


def short(parts: list[Part]) -> list[Part]:
    """Parts that must be ordered."""
    return [part for part in parts if part.in_stock < part.reorder_at]


def order_count(part: Part) -> int:
    """How many to order."""
    return part.reorder_at - part.in_stock


def order_lines(parts: list[Part], supplier: str) -> list[str]:
    """Lines of an order for one supplier."""
    lines = []
    for part in short(parts):
        if part.supplier == supplier:
            lines.append(f"{order_count(part)} x {part.number} {part.name}")
    return lines


def order_total(parts: list[Part], supplier: str) -> float:
    """What the order costs."""
    total = 0
    for part in short(parts):
        if part.supplier == supplier:
            total += order_count(part) * part.unit_price
    return total


if __name__ == "__main__":
    stock = load("parts.json")
    for line in order_lines(stock, "Brennhof"):
        print(line)
    print(order_total(stock, "Brennhof"))
