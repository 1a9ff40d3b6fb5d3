"""The tables of `unfold bench`."""

from __future__ import annotations

from unfold.bench.bench import EQUAL, Bench, Row
from unfold.bench.sample_loading import Rate
from unfold.report.text_table import markdown

HEADS = ["way", "s", "fastest to slowest", "images/s", "times plain", "peak", "TFLOP/s", "of the ceiling", "difference"]


def format_bench(bench: Bench) -> str:
    """A table in Markdown, with the setting above and the machine below."""
    height, width = bench.size
    what = {"infer": "forward", "train": "training step"}[bench.mode]
    about = bench.provenance
    ceilings = ", ".join(f"{value:.3g} TFLOP/s in {key}" for key, value in bench.ceilings.items())
    machine = about["gpu"] or f"{bench.threads} threads"
    rounds = max((row.times.rounds for row in bench.rows if row.times), default=0)
    return "\n".join(
        [
            f"{bench.model}, {what} of {bench.batch} of {height}x{width}: {bench.parameters:,} parameters, "
            f"{bench.gmac:.4g} GMAC forward",
            "",
            markdown(HEADS, [_line(row, bench) for row in bench.rows]),
            "",
            f"Medians of {rounds} rounds in which all take turns. Ceiling: the {bench.ceiling_of}, which is "
            f"{bench.ceiling_share:.0%} of the work, alone: {ceilings}. "
            f"Differences of at most {EQUAL:.0e} count as equal. The peak is beside weights and moments.",
            f"torch {about['torch']}, {machine}, {about['system']}, {about['date'][:10]}",
        ]
    )


def _line(row: Row, bench: Bench) -> list[str]:
    if row.times is None or row.teraflops is None:
        return [row.way, row.outcome, *[""] * (len(HEADS) - 2)]
    plain = bench.rows[0].times
    difference = "" if row.difference is None else "equal" if row.difference <= EQUAL else f"{row.difference:.1e}"
    return [
        row.way,
        f"{row.times.median:.3g}",
        f"{row.times.fastest:.3g} to {row.times.slowest:.3g}",
        f"{bench.batch / row.times.median:.3g}",
        f"{plain.median / row.times.median:.2f}" if plain else "",
        "" if row.peak is None else f"{row.peak / 1e6:,.0f} MB",
        f"{row.teraflops:.3g}",
        "" if row.of_ceiling is None else f"{row.of_ceiling:.0%}",
        difference,
    ]


def format_rates(model: str, patch: int, batch: int, found: list[Rate]) -> str:
    """A table in Markdown."""
    heads = ["images in", "workers", "samples/s", "of files", "rendering of a batch"]
    plain = {rate.workers: rate.samples_per_s for rate in found if rate.store == "files"}
    rows = [
        [
            rate.store,
            str(rate.workers),
            f"{rate.samples_per_s:.3g}",
            f"{rate.samples_per_s / plain[rate.workers]:.3g}",
            f"{1000 * rate.render:.1f} ms",
        ]
        for rate in found
    ]
    title = f"{model}: training samples of {patch}x{patch}, batches of {batch}"
    return f"{title}\n\n{markdown(heads, rows)}"
