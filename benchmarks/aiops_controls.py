"""Print what answers without understanding score on the AIOps evaluation set, and what the reference answers score.

python benchmarks/aiops_controls.py [seed ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from l2s.config import ExperimentConfig
from l2s.tasks import aiops


def main() -> None:
    seeds = [int(seed) for seed in sys.argv[1:]] or [ExperimentConfig().seed]
    table = {seed: aiops.controls(aiops.eval_items(ExperimentConfig(seed=seed))) for seed in seeds}
    print("| control | " + " | ".join(f"seed {seed}" for seed in seeds) + " |")
    print("|---|" + "--:|" * len(seeds))
    for control in table[seeds[0]]:
        print(f"| {control} | " + " | ".join(f"{table[seed][control]:.1%}" for seed in seeds) + " |")


if __name__ == "__main__":
    main()
