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
