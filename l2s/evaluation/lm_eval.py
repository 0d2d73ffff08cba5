"""Stages `lm_eval_<model>`: tasks of EleutherAI's lm-evaluation-harness on the models that the evaluation compares.

The package (extra `lm-eval`) is imported only inside functions. Models are loaded as in every other stage. The harness
renders with the model's own chat template and the configured `--thinking`. Prompts, examples, answer limits and metrics
are those of the tasks.
"""

from __future__ import annotations

import difflib
import json
import logging
from typing import TYPE_CHECKING, Any

from l2s import hub
from l2s.chat import load_renderers
from l2s.config import ExperimentConfig
from l2s.durable import make_folder, write_text_atomic
from l2s.errors import UserError
from l2s.generation.engines.transformers import stop_ids
from l2s.metrics import HarnessMetrics
from l2s.models.load import load_model
from l2s.run_dir import RunDir

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager


def run(config: ExperimentConfig, run_dir: RunDir, *, model: str) -> HarnessMetrics:
    """Write evaluation/lm_eval/<model>.json: the harness's own results.

    Answers are stored as they arrive, so a killed run resumes.

    Raises:
        UserError: a task cannot be loaded or run, or the model cannot be loaded.
    """
    manager, names = load_tasks(config)  # fail before the model is loaded
    from lm_eval import simple_evaluate
    from lm_eval.utils import handle_non_serializable

    try:
        results: Any = simple_evaluate(
            _harness_model(config, run_dir, model),
            tasks=names,
            task_manager=manager,
            apply_chat_template=True,
            limit=config.lm_eval_limit or None,
            use_cache=str(run_dir.lm_eval_answers(model) / "answers"),
            log_samples=False,
        )
    except ValueError as error:
        raise UserError(f"lm_eval_tasks={config.lm_eval_tasks!r}: {_one_line(error)}") from error
    results.pop("pretty_env_info", None)  # two pages about the machine
    path = run_dir.lm_eval(model)
    make_folder(path.parent)
    write_text_atomic(path, json.dumps(results, indent=2, default=handle_non_serializable, ensure_ascii=False) + "\n")
    for task, measured in results["results"].items():
        print(task, {name: value for name, value in measured.items() if isinstance(value, float)})
    return {"harness": results["lm_eval_version"], "task_versions": results["versions"]}


def load_tasks(config: ExperimentConfig) -> tuple[TaskManager, list[str]]:
    """Find the tasks that `lm_eval_tasks` lists (tasks, groups, tags or patterns) and fetch their data.

    Raises:
        UserError: no such task exists, its data cannot be fetched, or it cannot be run here.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it logs every default value
    manager = _task_manager(config)
    names = [match for name in _listed(config) for match in _matches(name, manager, config)]
    try:
        tasks = manager.load(names)["tasks"]
    except Exception as error:  # a task's definition is third-party code, and may raise anything
        why = hub.trouble() if isinstance(error, ConnectionError) else None
        raise _failure(config, f"cannot be loaded ({why or _one_line(error)})") from error
    for task in tasks.values():
        if getattr(task, "UNSAFE_CODE", False):
            raise _failure(config, f"{task.task_name} runs model-written code without a sandbox; leave it out")
        if getattr(task, "MULTIMODAL", False):
            raise _failure(config, f"{task.task_name} needs a model of images or sound; leave it out")
    return manager, names


def _task_manager(config: ExperimentConfig) -> TaskManager:
    """The index of task definitions. Reading the harness's own 14,000 takes ten seconds; it is done only if needed."""
    from lm_eval.tasks import TaskManager

    if config.lm_eval_include_path is None:
        return TaskManager()
    own = TaskManager(include_path=config.lm_eval_include_path, include_defaults=False)
    if set(_listed(config)) <= set(own.all_subtasks):  # not groups: they may have members from the harness
        return own
    return TaskManager(include_path=config.lm_eval_include_path)


def _listed(config: ExperimentConfig) -> list[str]:
    return [name.strip() for name in config.lm_eval_tasks.split(",") if name.strip()]


def _matches(name: str, manager: TaskManager, config: ExperimentConfig) -> list[str]:
    found: list[str] = manager.match_tasks([name])
    if not found:
        close = difflib.get_close_matches(name, manager.all_tasks, n=1)
        hint = f"did you mean {close[0]}?" if close else "`lm-eval ls tasks` lists all"
        raise _failure(config, f"the harness has no task {name!r}; {hint} --lm_eval_include_path FOLDER adds your own")
    return found


def _harness_model(config: ExperimentConfig, run_dir: RunDir, model: str) -> HFLM:
    """The model, loaded as in every other stage, in the harness's wrapper. It decodes greedily."""
    from lm_eval.models.huggingface import HFLM
    from transformers import GenerationConfig

    renderer = load_renderers(config).of(model)
    quantization = config.teacher_quantization if model == "teacher" else "none"
    network = load_model(run_dir.weights(model, config), config, quantization=quantization)
    stops = sorted(stop_ids(network.generation_config, renderer))
    network.generation_config = GenerationConfig(eos_token_id=stops)  # plain greedy
    return HFLM(
        pretrained=network,
        tokenizer=renderer.tokenizer_for_others(),
        batch_size=config.lm_eval_batch_size,
        enable_thinking=renderer.thinking,
    )


def _failure(config: ExperimentConfig, what: str) -> UserError:
    return UserError(f"lm_eval_tasks={config.lm_eval_tasks!r}: {what}")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: " + " ".join(str(error).split())
