"""Log lines that appear once per run, for any number of files."""

from __future__ import annotations

import logging

logger = logging.getLogger("unfold")
_said: set[str] = set()


def say_once(message: str, *arguments: object) -> None:
    """Log a line, unless this run has logged the same message; the first of many files is the example."""
    if message not in _said:
        _said.add(message)
        logger.info(message, *arguments)


def forget() -> None:
    """Start a new run: messages may appear again."""
    _said.clear()


class Notes(logging.Filter):
    """Pass a note only once: not again with the same message, or with the same ``kind`` of the record."""

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
