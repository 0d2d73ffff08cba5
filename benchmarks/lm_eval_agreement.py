"""Compare our strict-match and flexible-extract verdicts with those of lm-evaluation-harness's own code.

    pip install lm-eval    # in its own environment
    python benchmarks/lm_eval_agreement.py DATA_DIR [predictions.jsonl ...]

DATA_DIR/gsm8k/test.jsonl gives the references. Answers are the worked solutions in many notations, right and wrong, cut
and mixed up; math rows of predictions files are added unchanged.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from l2s.jsonl import load_jsonl
from l2s.tasks.math import harness_verdicts

NOTATIONS = (
    "#### {n}", "#### {n:,}", "#### ${n:,}", "#### {n}.", "#### {n}.00", "####{n}", "#### -{n}",
    "#### {n} apples in 5 days", "The answer is {n}.", "The answer is **{n:,}**", "\\boxed{{{n}}}", "{n:,}", "${n}",
    "so {n}, or {n}.5", "none", "", "#### {n}\n\n#### {n}1", "#### {n:,}.\nThat is $ 3", "#### ,{n}", "$.", "..",
    "#### {n}\n####", "#### abc {n}", "-{n}-",
)  # fmt: skip


def answers(data_dir: Path) -> Iterator[tuple[str, str]]:
    """(response, gold solution) pairs."""
    rng = random.Random(0)
    rows = load_jsonl(data_dir / "gsm8k" / "test.jsonl")
    for row, notation in itertools.product(rows, NOTATIONS):
        gold = int(row["answer"].rpartition("####")[2].replace(",", ""))
        working = re.sub(r"<<.*?>>", "", row["answer"].rpartition("####")[0])
        claimed = rng.choice((gold, gold, gold + 1, gold * 10))
        yield working[: rng.randint(0, len(working))] + notation.format(n=claimed), row["answer"]


def harness() -> dict[str, Callable[[str, str], bool]]:
    """The filters and the metric of task gsm8k, built from lm-eval's own YAML file and classes."""
    root = Path(str(import_module("lm_eval").__file__)).parent
    regex_filter = import_module("lm_eval.filters.extraction").RegexFilter
    exact_match = import_module("lm_eval.api.metrics").exact_match_hf_evaluate
    task = yaml.safe_load((root / "tasks" / "gsm8k" / "gsm8k.yaml").read_text(encoding="utf-8"))
    metric = {key: value for key, value in task["metric_list"][0].items() if key.startswith(("ignore", "regexes"))}
    filters = {}
    for entry in task["filter_list"]:
        arguments = {key: value for key, value in entry["filter"][0].items() if key != "function"}
        filters[entry["name"].replace("-", "_")] = regex_filter(**arguments)

    def judge(name: str, response: str, solution: str) -> bool:
        extracted = next(iter(filters[name].apply([[response]], [{}])))[0]
        return bool(exact_match([extracted], [solution], **metric)["exact_match"])

    return {name: partial(judge, name) for name in filters}


def _number(solution: str) -> str:
    return solution.rpartition("####")[2].strip()


def main() -> None:
    pairs = list(answers(Path(sys.argv[1])))
    for file in sys.argv[2:]:
        pairs += [(row["response"], row["meta"]["solution"]) for row in load_jsonl(file) if row["domain"] == "math"]
    for name, judge in harness().items():
        theirs = [judge(response, solution) for response, solution in pairs]
        ours = [harness_verdicts(response, _number(solution))[name] for response, solution in pairs]
        agree = sum(a == b for a, b in zip(ours, theirs, strict=True))
        print(f"{name}: {agree} of {len(pairs)} verdicts agree; correct by lm-eval {sum(theirs)}, by l2s {sum(ours)}")


if __name__ == "__main__":
    main()
