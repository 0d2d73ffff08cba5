"""Stages `evaluate_<model>`: answers, grades, cost and fidelity of one model on eval_dataset.jsonl."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from l2s.arms import MODELS
from l2s.chat import load_renderers
from l2s.config import ExperimentConfig
from l2s.devices import replica
from l2s.evaluation import fidelity
from l2s.generation.answers import answer_items, check_prompts_fit, count_unclosed_thinking, find_markup
from l2s.generation.engines.protocol import Completion, ModelChoice, Sampling
from l2s.generation.engines.table import choose_engine, open_engine
from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.metrics import EvaluationMetrics
from l2s.run_dir import Manifest, RunDir
from l2s.tasks.table import grade_all, task_of
from l2s.tasks.task import NOT_GRADED
from l2s.tasks.types import Grade, Item


def run(config: ExperimentConfig, run_dir: RunDir, *, model: str) -> EvaluationMetrics:
    """Write predictions/<model>.jsonl and fidelity/<model>.jsonl; return size, memory and speed of the model.

    All models answer greedily, in batches of the same size, and stop at the same tokens. Each is asked with its own
    template. Speed counts the answers of this stage only, so models of one run on one device can be compared. Where
    memory ran out for one model, those that answer later take the same parts: predictions hold the size for each item.
    """
    items: list[Item] = load_jsonl(run_dir.eval_data)  # type: ignore[assignment]
    renderers = load_renderers(config)
    renderer, log = renderers.of(model), run_dir.prediction_log(model)
    choice = _choice(model, config, run_dir)
    weights = not (model == "teacher" and config.remote_teacher)
    if weights:
        check_prompts_fit(items, renderer, choice.name, config)
    with open_engine(choice, renderer, config, weights=weights) as engine:
        answers = answer_items(items, engine, renderer, Sampling(config.max_new_tokens), log, label=f"evaluate {model}")
        if replica()[0] != 0:
            return {}
        cost = engine.cost()  # while answering; fidelity also holds logits
        rows = _predictions(items, answers, config)
        write_jsonl(run_dir.predictions(model), rows)
        if config.measures_fidelity:
            fidelity.measure(model, engine.hidden(), renderers, config, run_dir)
        else:
            fidelity.leave_out(model, run_dir)
    metrics: EvaluationMetrics = {
        "engine": choose_engine(config, weights=weights).metric(),
        "parameters": cost.parameters,
        "weight_bytes": cost.weight_bytes,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "unclosed_thinking": count_unclosed_thinking(rows),
        "sandbox": _sandbox_name(items),
    }
    if model == "teacher":  # every model is asked the same, so it is said once
        metrics["warnings"] = find_markup("markup_eval", items, renderer)
    return metrics | _speed(answers.values())


def _choice(model: str, config: ExperimentConfig, run_dir: RunDir) -> ModelChoice:
    size, part_sizes = config.eval_batch_size, _part_sizes(model, config, run_dir)
    if model == "teacher":
        return ModelChoice.of_teacher(config, batch_size=size, part_sizes=part_sizes)
    return ModelChoice(run_dir.weights(model, config), batch_size=size, part_sizes=part_sizes)


def _part_sizes(model: str, config: ExperimentConfig, run_dir: RunDir) -> dict[str, int]:
    """By item, the fewest prompts at a time in the evaluations so far, where that is less than eval_batch_size.

    The teacher's predictions are an input of the students', so they belong to this comparison. Those of other models
    do if their manifest says so.
    """
    found: dict[str, int] = {}
    for other in MODELS:
        done = Manifest.load(run_dir.manifest(f"evaluate_{other}"))
        alike = done is not None and done.config.get("eval_batch_size") == config.eval_batch_size
        is_input = other == "teacher" and model != "teacher"
        if (alike or is_input) and run_dir.predictions(other).exists():
            for row in load_jsonl(run_dir.predictions(other)):
                id_, size = str(row.get("id")), row.get("batch_size")
                if isinstance(size, int) and 0 < size < found.get(id_, config.eval_batch_size):
                    found[id_] = size
    return found


def _speed(answers: Collection[Completion]) -> EvaluationMetrics:
    seconds = sum(answer.seconds for answer in answers)
    tokens = sum(answer.num_tokens for answer in answers)
    return {
        "generated_tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "batch_sizes": sorted({answer.batch_size for answer in answers if answer.batch_size}, reverse=True),
    }


def _predictions(items: Sequence[Item], answers: Mapping[str, Completion], config: ExperimentConfig) -> list[Row]:
    """The items with their answers and grades."""
    graded = [(item, answers[item["id"]].text, answers[item["id"]].finish_reason) for item in items]
    grades = grade_all(graded, config)
    return [_prediction(item, answers[item["id"]], grade) for item, grade in zip(items, grades, strict=True)]


def _prediction(item: Item, answer: Completion, grade: Grade | None) -> Row:
    return {
        **item,
        "response": answer.text,
        "finish_reason": answer.finish_reason,
        "num_tokens": answer.num_tokens,
        "token_ids": answer.token_ids,
        "batch_size": answer.batch_size,
        "score": grade.score if grade else None,
        "status": grade.status if grade else NOT_GRADED,
        "extracted": grade.extracted if grade else None,
        "details": grade.details if grade else {},
    }


def _sandbox_name(items: list[Item]) -> str | None:
    """The sandbox backend that programs ran in, or None where no grader ran programs."""
    if not any(task_of(item["domain"]).runs_programs for item in items):
        return None
    from l2s import sandbox

    return sandbox.backend().name
