#!/usr/bin/env python3
"""Count parameters and multiply-accumulates of the package's networks; writes unfold/report/model_facts.json.

python scripts/model_facts.py
"""

import unfold.util.as_program  # isort: skip  # noqa: F401

from unfold.report.model_facts import FILE, counted

FILE.write_text(counted())
print(f"wrote {FILE}")
