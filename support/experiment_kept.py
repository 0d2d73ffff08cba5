"""The archived experiments of docs/RESULTS.md, as their tables and their figure need them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from l2s.arms import BASE, MODELS, TEACHER, copy_name
from l2s.jsonl import Row
from l2s.report.numbers.schema import DomainResult, Results
from support.experiment_archive import RESULTS

SFT, KD, OPD = "student_sft", "student_kd", "student_opd"
MEASURES = {"own": "right answers", "math": "right answers", "code": "pass@1", "aiops": "concept rate"}
WHOLE, HALF = "qwen_math", "qwen_half"  # trained on reference solutions: all of their change, and half of it
WITH_TEACHER = "qwen_math_500"  # the first, with the teacher's answers to the first 500 problems
REFERENCES = (WHOLE, WITH_TEACHER)
PROGRAMS, PROGRAMS_HALF = "qwen_programs", "qwen_programs_half"  # the same, trained on the teacher's programs as well
TWICE = "qwen_twice"  # the last of these once more a student, on the teacher's own answers
VARIANTS = {HALF: ", half", PROGRAMS: " with programs", PROGRAMS_HALF: " with programs, half", TWICE: " twice"}


@dataclass(frozen=True)
class Kept:
    """An archived experiment: its results and each model's predictions, those of further seeds included."""

    name: str
    results: Results
    predictions: dict[str, list[Row]]

    @classmethod
    def load(cls, name: str) -> Kept:
        """Read it from its archive, without unpacking."""
        predictions = {}
        with tarfile.open(RESULTS / f"{name}.tar.xz") as tar:
            for member in tar:
                path, file = Path(member.name), tar.extractfile(member)
                assert file is not None, "archives hold files alone"
                if path.name == "results.json":
                    results = cast(Results, json.load(file))
                elif path.parent.name == "predictions":
                    predictions[path.stem] = [json.loads(line) for line in file]
        return cls(name, results, predictions)

    def only(self, domain: str) -> Kept:
        """The same with the scores and predictions of one domain alone."""
        evaluation: Any = {
            model: {**found, "domain_results": {domain: found["domain_results"][domain]}}
            for model, found in self.results["evaluation"].items()
        }
        predictions = {
            model: [row for row in rows if row["domain"] == domain] for model, rows in self.predictions.items()
        }
        return replace(self, results={**self.results, "evaluation": evaluation}, predictions=predictions)

    def asked(self, ids: Collection[str]) -> Kept:
        """The same with the predictions on some items alone."""
        predictions = {
            model: [row for row in rows if str(row["id"]) in ids] for model, rows in self.predictions.items()
        }
        return replace(self, predictions=predictions)

    @property
    def first(self) -> DomainResult:
        """The scores of the first model."""
        result = self.result(next(iter(self.results["evaluation"])))
        assert result is not None
        return result

    def result(self, model: str) -> DomainResult | None:
        """The scores of a model on the only domain, or None where it was not evaluated."""
        found = self.results["evaluation"].get(model)
        return next(iter(found["domain_results"].values())) if found else None

    @property
    def measured(self) -> str:
        """What is measured, and on how many items."""
        return f"{MEASURES[self.domain]}, n={self.first['n']:,}"

    @property
    def domains(self) -> list[str]:
        """The domains that were evaluated."""
        return list(next(iter(self.results["evaluation"].values()))["domain_results"])

    @property
    def domain(self) -> str:
        """The only domain."""
        (domain,) = self.domains
        return domain

    def scores(self, model: str) -> list[float]:
        """The score of each item, in the order of the items."""
        return [float(row["score"]) for row in self.ordered(model)]

    def ordered(self, model: str) -> list[Row]:
        """The predictions in the order of the items."""
        return sorted(self.predictions[model], key=lambda row: str(row["id"]))

    @property
    def seeds(self) -> list[int]:
        """The seeds with which every arm was evaluated."""
        numbers = [int(seed) for seed in self.results["config"]["seeds"].split(",") if seed]
        students = [model for model in self.results["evaluation"] if model not in (TEACHER, BASE)]
        return [seed for seed in numbers if {self.of_seed(one, seed) for one in students} <= set(self.predictions)]

    def of_seed(self, model: str, seed: int) -> str:
        """The name of an arm's student with this seed; the first seed's is the arm's own."""
        first = int(self.results["config"]["seeds"].split(",")[0])
        return model if seed == first else copy_name(model, seed)


def titled(kept: Kept, model: str) -> str:
    """The name of a model; of a student also what else its training had, and whether it has half of its change."""
    if (model, kept.name) == (BASE, TWICE):
        return MODELS[KD].title + VARIANTS[PROGRAMS_HALF]
    return MODELS[model].title + (VARIANTS.get(kept.name, "") if model in (SFT, KD) else "")
