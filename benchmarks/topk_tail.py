"""How well top-k signals represent the teacher's whole distribution, for each way to model the tail.

    python benchmarks/topk_tail.py --teacher DIR --student DIR --data_dir DIR

The reference answers of GSM8K and MBPP training problems are rendered as training sequences and go through both models.
The tail is fitted to two thirds of the sequences. The rows of the others are encoded, decoded and written as logits by
the code that scoring and KD use, and compared with the exact logits. No answer is generated. --cache FILE keeps the
hidden states, because the models take most of the time.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig, resolve_config
from l2s.loss.logit_transform import IDENTITY
from l2s.loss.targets import TopkTargets
from l2s.models.head import output_head
from l2s.models.load import load_model
from l2s.sequences import TrainingSequence
from l2s.signals.hidden import hidden_of
from l2s.signals.recorders import CHUNK_ROWS
from l2s.signals.tail import RANK, TailFit
from l2s.signals.topk import TopkCheck, TopkEncoder, check_topk, decode
from l2s.tasks import code, math
from l2s.tasks.types import Item

MEASURED = 3  # every third sequence
ROWS = 192  # measured tokens of each domain


@dataclass(frozen=True)
class Answers:
    """Hidden states of both models at the response tokens of some sequences, and their output heads of one size."""

    domains: list[str]  # of the sequences
    starts: list[int]  # one more; sequence i has the rows starts[i] to starts[i + 1]
    teacher_hidden: Tensor
    teacher_head: Tensor
    student_hidden: Tensor
    student_head: Tensor

    def rows(self, measured: bool, domain: str | None = None) -> Tensor:
        """Row numbers of the measured or of the fitted sequences."""
        chosen = [
            torch.arange(self.starts[number], self.starts[number + 1])
            for number, name in enumerate(self.domains)
            if (number % MEASURED == 0) == measured and domain in (None, name)
        ]
        return torch.cat(chosen)


@dataclass(frozen=True)
class Result:
    """One way to keep the top k, at one temperature, on one domain."""

    domain: str
    temperature: float
    signal: str
    bytes_per_token: int
    check: TopkCheck


def reference_answers(config: ExperimentConfig) -> list[tuple[Item, str]]:
    """Training problems of both domains with the answers that their data sets hold."""
    worked = [(item, re.sub(r"<<.*?>>", "", item["meta"]["solution"])) for item in math.train_items(config)]
    programs = [(item, f"```python\n{item['reference'].strip()}\n```") for item in code.train_items(config)]
    return worked + programs


def run_models(config: ExperimentConfig) -> Answers:
    """Render the answers and take the hidden states."""
    renderer = load_renderer(config, "student_model")
    answers = reference_answers(config)
    rendered = [renderer.render(item["messages"], answer) for item, answer in answers]
    sequences = [TrainingSequence(str(n), item.input_ids, item.labels) for n, item in enumerate(rendered)]
    teacher_hidden, teacher_head = hidden_and_head(config.teacher_model, sequences, config)
    student_hidden, student_head = hidden_and_head(config.student_model, sequences, config)
    vocabulary = min(len(teacher_head), len(student_head))
    starts = [0]
    for sequence in sequences:
        starts.append(starts[-1] + sequence.num_response_tokens)
    domains = [item["source"] for item, _ in answers]
    return Answers(
        domains, starts, teacher_hidden, teacher_head[:vocabulary], student_hidden, student_head[:vocabulary]
    )


def hidden_and_head(
    name: str, sequences: Sequence[TrainingSequence], config: ExperimentConfig
) -> tuple[Tensor, Tensor]:
    """Hidden states [N, H] of all response tokens, and the output head [V, H]; the rest of the model is freed."""
    model = load_model(name, config)
    hidden = [hidden_of(model, [sequence]) for sequence in sequences]
    return torch.cat(hidden), output_head(model).weight.detach().clone()


def fit_tail(answers: Answers, config: ExperimentConfig) -> TailFit:
    """The fitted sequences, sampled as in scoring."""
    fit = TailFit(answers.teacher_head, config.topk, config.temperature)
    for rows in torch.split(answers.rows(measured=False), CHUNK_ROWS):
        hidden_NH = answers.teacher_hidden[rows]
        fit.add(hidden_NH, (hidden_NH @ answers.teacher_head.T).float())
    return fit


def signals(
    answers: Answers, fit: TailFit, rows_N: Tensor, ranks: list[int], config: ExperimentConfig
) -> Iterator[tuple[str, int, TopkTargets]]:
    """Name, bytes a token and decoded rows of every way to keep the top k."""
    hidden_NH = answers.teacher_hidden[rows_N]
    logits_NV = hidden_NH @ answers.teacher_head.T
    for rank in sorted({0, *ranks}):
        tail = fit.model(rank, IDENTITY)
        rows = TopkEncoder(config.topk, config.temperature, tail).encode(logits_NV, hidden_NH)
        size = {name: tensor[0].numel() * tensor.element_size() for name, tensor in rows.items()}
        teacher = decode(rows, config.topk, tail.factors().cpu())
        if rank == 0:
            kept = size["ids"] + size["logits"] + size["logit_steps"]
            over_k = (teacher.logits / config.temperature).logsumexp(-1)
            yield "renormalised over k", kept, replace(teacher, log_normalizer=over_k, tail=None)
            yield "one tail class", kept + size["log_normalizers"], replace(teacher, tail=None)
        name = f"{rank} components" if rank else "mean shape"
        yield name, sum(size.values()), teacher


def measure(answers: Answers, ranks: list[int], config: ExperimentConfig) -> list[Result]:
    """All signals at the temperature of `config`, on the sequences that were not fitted."""
    fit = fit_tail(answers, config)
    results = []
    for domain in sorted(set(answers.domains)):
        rows = answers.rows(measured=True, domain=domain)
        rows = rows[torch.linspace(0, len(rows) - 1, min(ROWS, len(rows))).long()]
        student_NV = (answers.student_hidden[rows] @ answers.student_head.T).cpu()
        exact_NV = (answers.teacher_hidden[rows] @ answers.teacher_head.T).cpu()
        for name, size, teacher in signals(answers, fit, rows, ranks, config):
            check = check_topk(student_NV, exact_NV, teacher, config)
            results.append(Result(domain, config.temperature, name, size, check))
            print_result(results[-1])
    return results


def print_result(result: Result) -> None:
    """A row of the table."""
    check = result.check
    print(
        f"| {result.domain} | {result.temperature:g} | {result.signal} | {result.bytes_per_token} "
        f"| {check.tail_mass:.1%} | {check.divergence_error:.1%} | {check.divergence_bias:+.1%} "
        f"| {check.gradient_cosine:.4f} | {check.gradient_cosine_p5:.4f} |",
        flush=True,
    )


def load_answers(arguments: argparse.Namespace, config: ExperimentConfig) -> Answers:
    """From --cache if it exists, else from the models."""
    if arguments.cache and arguments.cache.exists():
        return Answers(**torch.load(arguments.cache, mmap=True))
    answers = run_models(config)
    if arguments.cache:
        torch.save(vars(answers), arguments.cache)
    return answers


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="folder of the teacher")
    parser.add_argument("--student", required=True, help="folder of the student")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with gsm8k/ and mbpp/")
    parser.add_argument("--math", type=int, default=90, help="GSM8K problems")
    parser.add_argument("--code", type=int, default=60, help="MBPP problems")
    parser.add_argument("--topk", type=int, default=64)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 2.0, 3.0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 32, RANK], help="components of the tail")
    parser.add_argument("--cache", type=Path, help="where hidden states are kept between calls")
    parser.add_argument("--json", type=Path, help="where to write the results")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    config = resolve_config(
        {
            "teacher_model": arguments.teacher,
            "student_model": arguments.student,
            "data_dir": arguments.data_dir,
            "math_train_size": arguments.math,
            "code_train_size": arguments.code,
            "topk": arguments.topk,
        }
    )
    answers = load_answers(arguments, config)
    counts = [len(answers.rows(measured)) for measured in (False, True)]
    print(f"{len(answers.domains)} sequences: fitted {counts[0]} tokens, measured {counts[1]} tokens\n")
    print(
        "| answers | T | signal | bytes a token | tail mass | divergence error | over all | cosine | 5th percentile |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    results = []
    for temperature in arguments.temperatures:
        results += measure(answers, arguments.ranks, config.model_copy(update={"temperature": temperature}))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


if __name__ == "__main__":
    main()
