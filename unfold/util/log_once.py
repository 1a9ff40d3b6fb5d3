"""Log lines that one run says once, however many files they hold for."""

from __future__ import annotations

import logging

logger = logging.getLogger("unfold")
_said: set[str] = set()


def say_once(message: str, *arguments: object) -> None:
    """Log a line, unless this run has logged one of the same words: of many files the first is the example."""
    if message not in _said:
        _said.add(message)
        logger.info(message, *arguments)


def forget() -> None:
    """Another run begins."""
    _said.clear()


class Notes(logging.Filter):
    """Lets a note pass once: not again with the same words, or with the same ``kind``, where the record has one."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith("note: "):
            return True
        key = getattr(record, "kind", None) or record.getMessage()
        new = key not in self.passed
        self.passed.add(key)
        return new
