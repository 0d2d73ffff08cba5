"""The table of trainings: how their losses began and ended."""

from __future__ import annotations

from l2s.report.numbers.schema import Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cells, Table, make_table


def held_out_answers(results: Results, arm: str) -> int | None:
    """Number of answers that an arm was not trained on, so that its loss could be followed."""
    return results["stages"][arm]["metrics"].get("held_out") if arm in results["stages"] else None


def training_table(results: Results, text: Text) -> Table:
    """What each arm trained on and its final loss; sequences that were held out or did not fit are counted."""
    rows: list[Cells] = []
    for arm, steps in results["curves"].items():
        metrics = results["stages"][arm]["metrics"] if arm in results["stages"] else {}
        rows.append(
            [
                arm.upper(),
                formats.count(metrics.get("num_sequences")),
                formats.count(held_out_answers(results, arm)),
                formats.count(metrics.get("dropped_overlong")),
                formats.count(metrics.get("cut_overlong")),
                formats.count(metrics.get("num_tokens")),
                formats.count(steps[-1].get("step")),
                _from_to(steps),
                _from_to(results["heldout_curves"].get(arm, [])),
            ]
        )
    header = (
        "arm", "sequences", "held_out", "dropped_overlong", "cut_overlong", "tokens", "steps", "loss_trained",
        "loss_held_out",
    )  # fmt: skip
    return make_table([text(name) for name in header], rows)


def _from_to(steps: list[dict[str, float]]) -> str:
    return f"{formats.nats(steps[0]['loss'])} → {formats.nats(steps[-1]['loss'])}" if steps else formats.NONE
