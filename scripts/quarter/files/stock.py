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


def receive(parts: list[Part], number: str, count: int) -> Part:
    """Put delivered parts on the shelf."""
    for part in parts:
        if part.number == number:
            part.in_stock += count
            return part
    raise KeyError(f"no part {number}")


def take(parts: list[Part], number: str, count: int = 1) -> Part:
    """Take parts from the shelf for a repair."""
    for part in parts:
        if part.number == number:
            if part.in_stock < count:
                raise ValueError(f"only {part.in_stock} of {number} left")
            part.in_stock -= count
            return part
    raise KeyError(f"no part {number}")


def stock_value(parts: list[Part]) -> dict[str, float]:
    """Value of the stock, by supplier."""
    values: dict[str, float] = {}
    for part in parts:
        value = part.in_stock * part.unit_price
        values[part.supplier] = values.get(part.supplier, 0.0) + value
    return values


def save(parts: list[Part], path: str) -> None:
    """Save all parts."""
    rows = [vars(part) for part in parts]
    with open(path, "w") as out:
        json.dump(rows, out, indent=2)


if __name__ == "__main__":
    stock = load("parts.json")
    for line in order_lines(stock, "Brennhof"):
        print(line)
    print(order_total(stock, "Brennhof"))
