"""An expert of 135M parameters, its pruned copy as the student: what SFT, KD and OPD give, on one CPU core.

    python benchmarks/experiment/run.py [--work outputs/experiment] [--only STEP ...]
    python benchmarks/experiment/run.py --short         every step with tiny models, to see that it works

Run it from the root of the repository. A killed run resumes with the same command. The steps, in order:

1. `expert`: SFT of SmolLM2-135M-Instruct on reference solutions. `pruned`: the expert without three of its 30 layers.
2. On the selection set, one factor at a time, from the pruned expert: the learning rate of SFT and of KD (`rate`),
   then the temperature of KD (`temperature`), then its alpha (`alpha`). The best value goes into the next step. Ties go
   to the first.
3. `final`: SFT and KD with the chosen settings and three seeds, on evaluation problems that no choice has seen.
4. `further`: KD that starts from the SFT student, beside SFT with as many updates in all, on the same problems.
5. `opd`: OPD from the pruned expert, with three seeds, and from the SFT student, beside SFT, on the same problems.
6. `answers`: SFT on up to four different right answers of a problem instead of one, of eight tries each.

In steps 2 and 3, SFT and KD start from the same student, on the same answers, and make the same number of updates.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.experiment.problems import write_problems
from benchmarks.experiment.scale import FULL, SHORT, Scale
from l2s.config import resolve_config
from l2s.durable import replacing_folder
from l2s.models import demo
from l2s.models.tiny import save_tiny_model
from l2s.run_dir import RunDir
from l2s.runner.pipeline import stage_of

DATA = ("prepare", "generate", "score")
REFERENCES = ("evaluate_teacher", "evaluate_student_base")
SFT = ("sft", "evaluate_student_sft")
STEPS = ("expert", "pruned", "rate", "temperature", "alpha", "final", "further", "opd", "answers")
ANSWERS, TRIES = (1, 4), 8  # different right answers of a problem, of as many tries


class Experiment:
    """The folder `work` and the runs in it."""

    def __init__(self, work: Path, scale: Scale = FULL) -> None:
        self.work = work
        self.scale = scale
        self.files = write_problems(work / "problems", scale.problems)
        self.models = {"teacher_model": str(work / "expert" / "final_model"), "student_model": str(work / "pruned")}

    def run_expert(self) -> None:
        """Train the expert on the reference solutions of its own problems."""
        files = {"train_file": self.files["expert"], "eval_file": self.files["selection"]}
        base = self.scale.base or str(self.work / "base")
        if not self.scale.base and not (self.work / "base").exists():
            save_tiny_model(self.work / "base", seed=1, hidden_size=64, vocab_size=259, tied=True)
        models = {"teacher_model": base, "student_model": base}
        own = {"answers": "reference", "sft_epochs": 1, "sft_lr": 1e-4, "heldout_answers": 0, "run_sft": True}
        self.l2s("expert", {**files, **models, **own})

    def run_pruned(self) -> None:
        """Write the student: the expert without some of its layers."""
        folder = Path(self.models["student_model"])
        if (folder / "config.json").exists():
            return
        from transformers import AutoModelForCausalLM, AutoTokenizer

        expert = self.models["teacher_model"]
        model = demo.drop_layers(AutoModelForCausalLM.from_pretrained(expert, dtype="auto"), self.scale.dropped)
        with replacing_folder(folder) as partial:
            model.save_pretrained(partial)
            AutoTokenizer.from_pretrained(expert).save_pretrained(partial)

    def run_rate(self) -> None:
        """SFT and KD (T=1, alpha=0) at each learning rate."""
        for rate in self.scale.rates:
            self.students(f"rate-{rate:g}", {"sft_lr": rate, "kd_lr": rate, "temperature": 1.0, "alpha": 0.0})

    def run_temperature(self) -> None:
        """KD at its best rate (alpha=0) at the further temperatures."""
        for value in self.scale.temperatures[1:]:
            best = {"arms": "kd", "kd_lr": self.best_rate("student_kd")}
            self.students(f"temperature-{value:g}", {**best, "temperature": value, "alpha": 0.0})

    def run_alpha(self) -> None:
        """KD at its best rate and temperature with more weight on the cross-entropy."""
        for value in self.scale.alphas[1:]:
            best = {"arms": "kd", "kd_lr": self.best_rate("student_kd"), "temperature": self.best_temperature()}
            self.students(f"alpha-{value:g}", {**best, "alpha": value})

    def run_final(self) -> None:
        """SFT and KD with the chosen settings, three seeds, on the final problems."""
        for seeds in self.scale.seeds:
            self.students("final", {**self.chosen(), "seeds": seeds}, problems="final", made=DATA[1:])

    def run_further(self) -> None:
        """KD after SFT, and SFT with twice the epochs: the same number of updates in all, at the rate of SFT."""
        after = {**self.first_seed(), "kd_init": "sft", "kd_lr": self.best_rate("student_sft")}
        self.students("kd-after-sft", after, problems="final", of="final", made=(*DATA, *REFERENCES, *SFT))
        twice = {**after, "arms": "sft", "sft_epochs": 2 * self.scale.epochs}
        self.students("sft-twice", twice, problems="final", of="final", made=(*DATA, *REFERENCES))

    def run_opd(self) -> None:
        """OPD from the base and from the SFT student, beside that student; further seeds of OPD from the base."""
        first, *further = self.scale.seeds
        for start, seeds in (("base", first), ("sft", first), *(("base", seeds) for seeds in further)):
            settings = {**self.chosen(), **self.scale.opd, "arms": "sft,opd", "kd_init": start, "seeds": seeds}
            made = ("prepare", "generate", *REFERENCES, *SFT)
            self.students(f"opd-from-{start}", settings, problems="final", of="final", made=made)

    def run_answers(self) -> None:
        """SFT on one and on several answers of a problem, from the same number of tries."""
        for number in ANSWERS:
            settings = {**self.first_seed(), "arms": "sft", "answers_per_item": number, "max_tries": TRIES}
            made = ("prepare", *REFERENCES)
            self.students(f"answers-{number}", settings, problems="final", of="final", made=made)

    def students(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        problems: str = "selection",
        of: str = "",
        made: Sequence[str] = (*DATA, *REFERENCES),
    ) -> None:
        """Run one experiment; what the experiment `of` [that of the first rate] has `made` of it already is copied."""
        of = of or f"rate-{self.scale.rates[0]:g}"
        epochs = {"sft_epochs": self.scale.epochs, "kd_epochs": self.scale.epochs}
        files = {"train_file": self.files["student"], "eval_file": self.files[problems]}
        own = {"arms": "sft,kd", "kd_init": "base", **epochs, **self.scale.curation, **settings}
        everything = {**files, **self.models, "answers": "teacher", "run_all": True, **own}
        if name != of and not (self.work / name).exists():
            self.copy(of, name, made, everything)
        self.l2s(name, everything)

    def copy(self, source: str, target: str, stages: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Copy the finished `stages` of an experiment: what they wrote, and their manifests."""
        config = resolve_config({**self.scale.settings, **settings})
        with replacing_folder(self.work / target) as partial:
            there, here = RunDir(self.work / source), RunDir(partial)
            for name in stages:
                stage = stage_of(name, config)
                old_paths = (*stage.gives(there, config), *stage.logs(there, config), there.manifest(name))
                new_paths = (*stage.gives(here, config), *stage.logs(here, config), here.manifest(name))
                for old, new in zip(old_paths, new_paths, strict=True):
                    new.parent.mkdir(parents=True, exist_ok=True)
                    if old.is_dir():
                        shutil.copytree(old, new, dirs_exist_ok=True)
                    elif old.exists():  # a stage need not write all of its logs
                        shutil.copy2(old, new)

    def l2s(self, name: str, settings: Mapping[str, Any]) -> None:
        """Run `l2s run` with these settings; ends the program where it fails."""
        places = {"experiment_name": name, "output_dir": self.work, "processed_dir": self.work / "processed"}
        flags = [f"--{key}={value}" for key, value in {**self.scale.settings, **settings, **places}.items()]
        print(f"\n=== {name} ===", flush=True)
        if (status := subprocess.run([sys.executable, "-m", "l2s.cli", "run", *flags], check=False).returncode) != 0:
            raise SystemExit(status)

    def score(self, name: str, model: str) -> float:
        """The main metric of a model in a finished experiment."""
        results = json.loads((self.work / name / "results.json").read_text(encoding="utf-8"))
        return float(results["evaluation"][model]["domain_results"]["own"]["main_metric"])

    def best_rate(self, model: str) -> float:
        """The learning rate with the best score on the selection problems."""
        return max(self.scale.rates, key=lambda rate: self.score(f"rate-{rate:g}", model))

    def best_temperature(self) -> float:
        """The temperature with the best score of KD, alpha=0, at its best rate."""
        return max(self.scale.temperatures, key=lambda value: self.score(self._of_temperature(value), "student_kd"))

    def best_alpha(self) -> float:
        """The alpha with the best score of KD at its best rate and temperature."""
        names = {value: f"alpha-{value:g}" for value in self.scale.alphas}
        names[self.scale.alphas[0]] = self._of_temperature(self.best_temperature())
        return max(self.scale.alphas, key=lambda value: self.score(names[value], "student_kd"))

    def _of_temperature(self, value: float) -> str:
        return f"temperature-{value:g}" if value != 1.0 else f"rate-{self.best_rate('student_kd'):g}"

    def chosen(self) -> dict[str, Any]:
        """The settings with the best scores on the selection problems."""
        rates = {"sft_lr": self.best_rate("student_sft"), "kd_lr": self.best_rate("student_kd")}
        return {**rates, "temperature": self.best_temperature(), "alpha": self.best_alpha()}

    def first_seed(self) -> dict[str, Any]:
        """The chosen settings with the first seed of the final comparison alone."""
        return {**self.chosen(), "seeds": self.scale.seeds[0]}


def main() -> None:
    """Run the steps in their order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder of all files [outputs/experiment, or experiment_short]")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, help="steps to run [all]")
    parser.add_argument("--short", action="store_true", help="tiny models, few problems: minutes, no result")
    arguments = parser.parse_args()
    name = "experiment_short" if arguments.short else "experiment"
    experiment = Experiment(arguments.work or Path("outputs", name), SHORT if arguments.short else FULL)
    for step in STEPS:
        if step in arguments.only:
            getattr(experiment, f"run_{step}")()


if __name__ == "__main__":
    main()
