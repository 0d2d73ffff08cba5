"""Warnings that the files of a run give: what limits a conclusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from l2s.arms import ARMS, BASE, TEACHER, original
from l2s.config import ExperimentConfig
from l2s.evaluation.stats import wilson_interval
from l2s.generation.engines.endpoint_body import leaves_out
from l2s.report.numbers import scores
from l2s.report.numbers.costs import ENDPOINT, measured_elsewhere
from l2s.report.numbers.files import RunFiles
from l2s.report.numbers.schema import Results
from l2s.run_dir import differing, outdated
from l2s.tasks.table import task_of
from l2s.tasks.task import BLIND
from l2s.warning import Warned, warned

CUT_PREDICTIONS_LIMIT = 0.05  # share of cut answers above which a score depends too much on the limit
GOLD = "gold"  # the control that must be graded as right
CONTROL_LIMIT = 0.15  # limit of the other controls


def find_warnings(results: Results, files: RunFiles) -> list[Warned]:
    """The report's own warnings; those of the stages are in their manifests."""
    return [
        *trusted_code(results["config"]),
        *_contamination(results),
        *_stand_ins(results),
        *_grader_faults(results),
        *_failed_controls(results),
        *_truncation(results, files.config.max_new_tokens),
        *_missing_answers(files),
        *_odd_fidelity(files),
        *_remote_teacher(results, files.config),
        *_batch_sizes(results, files.config.eval_batch_size),
        *_other_places(results, files),
        *_mixed_versions(files),
        *_mixed_settings(files),
        *_outdated_students(files),
    ]


def trusted_code(config: Mapping[str, Any]) -> Iterator[Warned]:
    """Code that ran with the user's rights because a setting allowed it: of the models' repositories."""
    if config.get("trust_remote_code"):
        teacher, student = str(config["teacher_model"]), str(config["student_model"])
        yield warned("trusted_code", teacher=teacher, student=student)


def _contamination(results: Results) -> Iterator[Warned]:
    for domain, found in results["contamination"].items():
        n, duplicates, shared = found["eval_items"], len(found["duplicates"]), len(found["ngram_overlaps"])
        if duplicates:
            because = _overlap_setting(results, domain)
            yield warned("contaminated", domain=domain, n=n, found=duplicates, because=because)
        if shared:
            yield warned("ngrams", domain=domain, n=n, found=shared)


def _overlap_setting(results: Results, domain: str) -> str:
    """field=value of the setting that trains on evaluation items, if it is in force; else empty."""
    setting = task_of(domain).overlap_setting
    return "=".join(setting) if setting and results["config"][setting[0]] == setting[1] else ""


def _stand_ins(results: Results) -> Iterator[Warned]:
    """Sources that replace a benchmark."""
    for domain, sources in results["sources"].items():
        for source in task_of(domain).stand_ins:
            if source in sources:
                yield warned("stand_in", domain=domain, source=source)


def _grader_faults(results: Results) -> Iterator[Warned]:
    """Failures of the graders themselves. They say nothing about the answer but count as 0."""
    for model, evaluation in results["evaluation"].items():
        for domain, result in evaluation["domain_results"].items():
            statuses = {name: number for name, number in result["statuses"].items() if name in task_of(domain).faults}
            if statuses:
                faults: list[dict[str, str | int]] = [
                    {"status": name, "found": statuses[name]} for name in task_of(domain).faults if name in statuses
                ]
                found = sum(statuses.values())
                yield warned("faults", domain=domain, model=model, found=found, n=result["n"], faults=faults)


def _failed_controls(results: Results) -> Iterator[Warned]:
    for domain, controls in results["controls"].items():
        n = results["contamination"][domain]["eval_items"] if domain in results["contamination"] else 0
        failed = [name for name, score in controls.items() if control_fails(name, score, n)]
        if failed:
            yield warned("controls", domain=domain, names=failed)


def control_fails(name: str, score: float, n: int) -> bool:
    """Whether a control's score over `n` items shows that the grader cannot be trusted.

    A reference answer that is not graded as right is always a fault. Blind answers show the metric's ceiling, which is
    no fault. An answer without understanding fails if its whole 95% interval is at or above the limit: on a few items
    its score is chance. A score between 0 and 1 varies no more than a right-or-wrong one, so Wilson's interval is wide
    enough for it.
    """
    if name == GOLD:
        return score < 1
    if name.startswith(BLIND):
        return False
    return n > 0 and wilson_interval(score * n, n)[0] >= CONTROL_LIMIT


def _truncation(results: Results, limit: int) -> Iterator[Warned]:
    parts: list[dict[str, str | int]] = [
        {"model": model, "domain": domain, "found": result["truncated"], "n": result["n"]}
        for model, evaluation in results["evaluation"].items()
        for domain, result in evaluation["domain_results"].items()
        if result["truncated"] > CUT_PREDICTIONS_LIMIT * result["n"]
    ]
    if parts:
        yield warned("truncated", limit=limit, truncated=parts)


def _missing_answers(files: RunFiles) -> Iterator[Warned]:
    """The models that were not evaluated, and those whose answers are incomplete."""
    items = {row["id"] for row in files.eval}
    for model, rows in files.predictions.items():
        answered = items & {row["id"] for row in rows}
        if items - answered:
            yield warned("missing_items", model=model, found=len(answered), n=len(items))
    expected = (TEACHER, BASE, *(ARMS[arm].model.name for arm in files.config.arms.split(",")))
    absent = [model for model in expected if model not in files.predictions]
    if absent:
        yield warned("absent", models=absent)


def _odd_fidelity(files: RunFiles) -> Iterator[Warned]:
    """Fidelity that rests on fewer answers than were measured, or on numbers that no working model has."""
    limit = scores.ODD_NATS_A_TOKEN
    for model, rows in files.fidelity.items():
        usable = [row for row in rows if scores.is_usable(row)]
        if len(usable) < len(rows):
            yield warned("fidelity_left_out", model=model, found=len(rows) - len(usable), n=len(rows))
        odd = [row for row in usable if max(row["kl_sum"], row["nll_sum"]) > limit * row["num_tokens"]]
        if odd:
            yield warned("fidelity_odd", model=model, found=len(odd), n=len(rows), limit=limit)


def _mixed_versions(files: RunFiles) -> Iterator[Warned]:
    """Stages that were made with different versions of one package, which `mix_versions` allows."""
    by_name: dict[str, set[str]] = {}
    for manifest in files.manifests.values():
        for name, version in manifest.versions.items():  # a patch of Python decides nothing
            by_name.setdefault(name, set()).add(version)
    by_name.pop("python", None)
    mixed = [f"{name} {' / '.join(sorted(found))}" for name, found in sorted(by_name.items()) if len(found) > 1]
    if mixed:
        yield warned("mixed_versions", names=mixed)


def _mixed_settings(files: RunFiles) -> Iterator[Warned]:
    """Settings that stages read with different values: the table of settings has room for one."""
    if found := differing(files.manifests.values()):
        yield warned("mixed_settings", names=[f"{name}={values}" for name, values in found.items()])


def _outdated_students(files: RunFiles) -> Iterator[Warned]:
    """Students shown here that learned from answers, signals or weights that have been made again since."""
    arms = {original(stage) for stage in outdated(files.manifests)}
    students = [arm.model.name for arm in ARMS.values() if arm.name in arms]
    if found := [model for model in students if model in files.predictions]:
        yield warned("outdated_students", models=found)


def _remote_teacher(results: Results, config: ExperimentConfig) -> Iterator[Warned]:
    """A teacher behind an endpoint: its speed means nothing, its distribution is not known, it may not be greedy."""
    engines = {model: cost["engine"] for model, cost in results["models"].items()}
    if engines.get(TEACHER) == ENDPOINT:
        others = sorted(set(engines.values()) - {ENDPOINT})
        yield warned("remote_teacher", engines=others)
        if leaves_out("temperature", config):
            yield warned("server_temperature")


def _other_places(results: Results, files: RunFiles) -> Iterator[Warned]:
    """Students whose speed and memory were measured elsewhere than the teacher's; of an endpoint, that is said."""
    models = measured_elsewhere(files.manifests)
    if models and results["models"][TEACHER]["engine"] != ENDPOINT:
        yield warned("other_places", models=models)


def _batch_sizes(results: Results, asked: int) -> Iterator[Warned]:
    """Where memory ran out while models answered, so that they took fewer prompts at a time than they were to."""
    stages = {model: results["stages"].get(f"evaluate_{model}") for model in results["models"]}
    found = {model: stage["metrics"].get("batch_sizes") for model, stage in stages.items() if stage}
    used = {model: sizes for model, sizes in found.items() if sizes}  # vLLM and endpoints batch by themselves
    if all(sizes == [asked] for sizes in used.values()):
        return
    alike = list(used.values())
    if all(sizes == alike[0] for sizes in alike):
        yield warned("batches_cut", asked=asked, found=", ".join(map(str, alike[0])))
        return
    parts: list[dict[str, str | int]] = [
        {"model": model, "sizes": ", ".join(map(str, sizes))} for model, sizes in used.items()
    ]
    yield warned("batches_differ", batches=parts, found=min(map(min, alike)))
