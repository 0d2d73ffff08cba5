"""Print the scores of answers without understanding on the AIOps evaluation set, and of the reference answers.

Two rows are harder than a control needs to be: the best list of keywords for each style of log, chosen with the key
open, and the reference answer after the one wrong cause that costs least. The last rows are the metric's ceiling: right
answers in words other than the key's, from the half that phrases were not taken from and from the other half.

    python benchmarks/aiops_controls.py [seed ...] [--tokenizer FOLDER]

With a tokenizer it prints prompt lengths in tokens instead: 5th percentile, median and 95th percentile over all items.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from l2s.config import ExperimentConfig
from l2s.tasks import aiops
from l2s.tasks.aiops.blind_answers import Half, blind_scores
from l2s.tasks.aiops.causes import CAUSES
from l2s.tasks.aiops.control_answers import hedging_with, keyword_stuffing
from l2s.tasks.types import Item


def by_style(items: list[Item]) -> float:
    styles = [
        [item for item in items if item["meta"]["style"] == style] for style in {i["meta"]["style"] for i in items}
    ]
    return sum(keyword_stuffing(found) * len(found) for found in styles) / len(items)


def harder(items: list[Item]) -> dict[str, float]:
    one_cause = max(hedging_with(cause, items) for cause in CAUSES)
    return {"stuffing_by_style": by_style(items), "hedging_with_one": one_cause}


def ceiling() -> dict[str, float]:
    halves: tuple[Half, ...] = ("measure", "mend")
    return {f"blind_{language} ({half})": score for half in halves for language, score in blind_scores(half).items()}


def print_controls(seeds: list[int]) -> None:
    items = {seed: aiops.eval_items(ExperimentConfig(seed=seed)) for seed in seeds}
    table = {seed: aiops.controls(found) | harder(found) | ceiling() for seed, found in items.items()}
    print("| control | " + " | ".join(f"seed {seed}" for seed in seeds) + " |")
    print("|---|" + "--:|" * len(seeds))
    for control in table[seeds[0]]:
        print(f"| {control} | " + " | ".join(f"{table[seed][control]:.1%}" for seed in seeds) + " |")


def print_lengths(seed: int, folder: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for lines in (40, 15):
        config = ExperimentConfig(seed=seed, aiops_log_lines=lines)
        prompts = [item["messages"][0]["content"] for item in (*aiops.train_items(config), *aiops.eval_items(config))]
        lengths = [len(ids) for ids in tokenizer(prompts)["input_ids"]]
        low, middle, high = np.percentile(lengths, [5, 50, 95])
        print(f"aiops_log_lines={lines}: {low:.0f}, {middle:.0f}, {high:.0f} tokens")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", type=int, nargs="*", default=[ExperimentConfig().seed])
    parser.add_argument("--tokenizer")
    args = parser.parse_args()
    if args.tokenizer:
        print_lengths(args.seeds[0], args.tokenizer)
    else:
        print_controls(args.seeds)


if __name__ == "__main__":
    main()
