"""The command line: `unfold COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. argv: words after `unfold`, by default those of this process."""
    from unfold.util.processors import prepare

    prepare()  # before torch is loaded
    from unfold.cli.command_line import main as run

    return run(argv)
