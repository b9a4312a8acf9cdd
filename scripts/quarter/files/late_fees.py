"""Late fees of the day, from the list of returns that the till writes."""

import csv
import sys
from datetime import datetime, timedelta

FIRST_HOUR = 4.0
NEXT_HOUR = 3.0
GRACE = timedelta(minutes=20)


def read_returns(path: str) -> list[dict[str, str]]:
    """Read the returns of a day."""
    with open(path) as file:
        return list(csv.DictReader(file, delimiter=";"))


def parse(text: str) -> datetime:
    """Parse a time as the till writes it."""
    return datetime.strptime(text, "%d.%m.%Y %H:%M")


def hours_late(row: dict[str, str]) -> int:
    """Hours that a bike came back late, begun hours count."""
    late = parse(row["back"]) - parse(row["due"])
    if late <= GRACE:
        return 0
    return int(late.total_seconds() // 3600)


def fee(row: dict[str, str]) -> float:
    """Late fee of one return in euros."""
    hours = hours_late(row)
    if hours == 0:
        return 0.0
    return FIRST_HOUR + NEXT_HOUR * (hours - 1)


def by_customer(rows: list[dict[str, str]]) -> dict[str, float]:
    """Sum of the late fees of each customer."""
    sums: dict[str, float] = {}
    for entry in rows:
        amount = fee(entry)
        if amount > 0:
            name = entry["customer"]
            sums[name] = sums.get(name, 0.0) + amount
    return sums


def letter(customer: str, amount: float) -> str:
    """Text of the letter to a customer who left without paying."""
    return (
        f"Dear {customer},\n\n"
        f"your bike came back late, and the late fee of EUR {amount:.2f} is still open.\n"
        "Please pay it at the shop or by bank transfer within 14 days.\n\n"
        "Kind regards\nTalrad, Am Steg 4, Murnach\n"
    )


def write_letters(rows: list[dict[str, str]], folder: str) -> int:
    """Write a letter to everyone who has not paid; return how many."""
    unpaid = [entry for entry in rows if entry["paid"] == "no"]
    letters = by_customer(unpaid)
    for customer, amount in letters.items():
        name = customer.lower().replace(" ", "_")
        with open(f"{folder}/{name}.txt", "w") as file:
            file.write(letter(customer, amount))
    return len(letters)


def main() -> None:
    """Print the late returns of a day."""
    rows = read_returns(sys.argv[1])
    total = 0.0
    for row in rows:
        amount = fee(row)
        if amount:
            print(row["bike"], row["customer"], amount)
            total += amount
    print("total", total)


main()
