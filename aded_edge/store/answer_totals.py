"""Figures of answers, summed by day or by conversation.

Knows the figures that are kept with each answer. Does not know how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from .database import StoreFile


@dataclass(frozen=True)
class AnswerTotals:
    """Sums over the answers of one day, or of one conversation.

    Attributes:
        label: the date, or the number of the conversation.
        title: of the conversation; "" for a day.
        answers, tokens, steps, accepted: counts.
        seconds: time that the decoding steps took.
        seconds_plain: time that plain decoding would have taken, by the cost curve.
    """

    label: str
    title: str
    answers: int
    tokens: int
    steps: int
    accepted: int
    seconds: float
    seconds_plain: float

    @property
    def tokens_per_second(self) -> float:
        """Decoded tokens per second; the first token of an answer, from the prompt, not counted."""
        return (self.steps + self.accepted) / self.seconds if self.seconds > 0 else 0.0

    @property
    def mat(self) -> float:
        """Mean accepted tokens per step, bonus included; plain decoding = 1.0."""
        return 1.0 + self.accepted / self.steps if self.steps else 1.0

    @property
    def speedup(self) -> float | None:
        """Speed relative to plain decoding, by the cost curve; None if no curve was known."""
        if self.seconds <= 0 or self.seconds_plain <= 0:
            return None
        return self.seconds_plain / self.seconds


def totals_by_day(file: StoreFile, days: int) -> list[AnswerTotals]:
    """The last days on which there were answers, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    return _totals(file, _BY_DAY, days)


def totals_by_conversation(file: StoreFile, conversations: int) -> list[AnswerTotals]:
    """The most recently updated conversations that have answers, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    return _totals(file, _BY_CONVERSATION, conversations)


def _totals(file: StoreFile, query: str, limit: int) -> list[AnswerTotals]:
    with file.reading() as conn:
        return [AnswerTotals(*row) for row in conn.execute(query, (limit,))][::-1]


_SUMS = """
    count(*), sum(m.tokens), sum(coalesce(json_extract(m.stats, '$.steps'), 0)),
    sum(coalesce(json_extract(m.stats, '$.accepted'), 0)),
    sum(coalesce(json_extract(m.stats, '$.seconds'), 0.0)),
    sum(coalesce(json_extract(m.stats, '$.seconds_plain'), 0.0))"""

_BY_DAY = f"""
    SELECT date(m.created, 'localtime') AS day, '', {_SUMS} FROM messages AS m
    WHERE m.role = 'assistant' AND m.stats IS NOT NULL
    GROUP BY day ORDER BY day DESC LIMIT ?"""

_BY_CONVERSATION = f"""
    SELECT CAST(c.id AS TEXT), c.title, {_SUMS}
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation
    WHERE m.role = 'assistant' AND m.stats IS NOT NULL
    GROUP BY c.id ORDER BY c.updated DESC, c.id DESC LIMIT ?"""
