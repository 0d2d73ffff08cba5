"""What grows with what on a Ray cluster, from 1 node of eight GPUs to 100.

    python benchmarks/cluster_growth.py            # with the extra ray

Measured here: what a call to a process on a node costs the driver, how long Ray takes to reserve GPUs (one raylet that
declares as many as 100 nodes have; they do nothing), how long an agent takes to start, and the memory that a driver and
a replica take for many answers. Computed from that: the layout (by the code that runs use), calls a second, and bytes
that move. No GPU and no network of a cluster is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.chat import Rendered
from l2s.config import ExperimentConfig
from l2s.generation import answers
from l2s.generation.collect import collect
from l2s.generation.context import teacher_messages
from l2s.generation.curation import Curator
from l2s.generation.engines.protocol import Completion, Request, Sampling, independent
from l2s.generation.generate import write_choices
from l2s.jsonl import write_jsonl
from l2s.loss.logit_transform import LogitTransform
from l2s.loss.reference import IGNORE_INDEX
from l2s.on_disk import RowsOnDisk
from l2s.plan.hardware import find_hardware
from l2s.plan.known_models import as_folders
from l2s.run_dir import RunDir
from l2s.runner.cluster.executor import LOOK_S
from l2s.runner.cluster.transfer import Hashes, Inbox, Watch, read_parts
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import groups_of, place
from l2s.sealed import seal
from l2s.sequences import SequenceDataset, TrainingSequence, hold_out, load_sequences
from l2s.signals.record import SHARD_ROWS, plan_shards
from l2s.signals.store import Shard, SignalIndex, SignalStore, hash_sequences
from l2s.signals.tail import RANK
from l2s.signals.topk import bytes_per_row
from l2s.tasks.table import task_of
from l2s.training.updates import Updates

NODES = (1, 2, 10, 100)
PER_NODE = 8
TOKENS = 500  # of an answer
GIB = 1 << 30
PROMPT = list(range(1_000, 1_200))


@dataclass(frozen=True)
class Costs:
    """What Ray costs on this machine, in seconds, and calls a second."""

    connect: float
    first_agent: float
    next_agent: float
    calls: float
    reserve: dict[int, float]  # by number of nodes


def an_answer(number: int) -> Completion:
    """An answer of TOKENS tokens of five or six digits."""
    ids = [10_000 + (number * 7919 + position * 104_729) % 141_000 for position in range(TOKENS)]
    return Completion(f"math/{number}", "word " * TOKENS, "stop", TOKENS, token_ids=ids, seconds=1.0)


def line_of(answer: Completion) -> bytes:
    """The answer as a line of a replica's log."""
    return json.dumps(seal(asdict(answer))).encode() + b"\n"


def measure_ray(layout: dict[int, int]) -> Costs:
    """Measure with one raylet; `layout` is the number of generating processes by number of nodes."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_enable_metrics_collection": "0", "RAY_SCHEDULER_EVENTS": "0"}
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    from l2s.runner.cluster.agent import Agent

    start = time.perf_counter()
    ray.init("local", num_cpus=4, num_gpus=max(NODES) * PER_NODE, include_dashboard=False, logging_level="ERROR")
    connect = time.perf_counter() - start

    def start_agent(number: int) -> tuple[Any, float]:
        begin = time.perf_counter()
        agent = ray.remote(Agent).options(num_cpus=0).remote(f"n{number}", f"n{number}", None, "growth")
        ray.get(agent.ping.remote())
        return agent, time.perf_counter() - begin

    agents = [start_agent(number) for number in range(3)]
    calls, begin = 3000, time.perf_counter()
    ray.get([agents[number % 3][0].ping.remote() for number in range(calls)])
    rate = calls / (time.perf_counter() - begin)
    reserve = {}
    for nodes, processes in layout.items():
        begin = time.perf_counter()
        group = placement_group([{"GPU": nodes * PER_NODE // processes}] * processes)
        ray.get(group.ready())
        reserve[nodes] = time.perf_counter() - begin
        remove_placement_group(group)
    ray.shutdown()
    return Costs(connect, agents[0][1], agents[-1][1], rate, reserve)


class Peak:
    """The peak memory of this process from now on."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of what was imported (man 5 proc)
        self.before = self._mib("VmRSS")

    def mib(self) -> float:
        """MiB above what it had at the start."""
        return self._mib("VmHWM") - self.before

    def _mib(self, name: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) / 1024


def move_answers(rows: int) -> None:
    """Write `rows` answers as a node does and take them over as the driver does; print MiB of peak memory, seconds."""
    line, peak = line_of(an_answer(0)), Peak()
    with tempfile.TemporaryDirectory() as folder:
        node, driver = Path(folder, "node"), Path(folder, "driver")
        for place_ in (node, driver):
            place_.mkdir()
        watch, hashes, inbox, seconds = Watch(node, ["1.jsonl"]), Hashes(), Inbox(driver, None), 0.0
        for start in range(0, rows, 10_000):
            with (node / "1.jsonl").open("ab") as file:
                file.write(line * min(10_000, rows - start))
            begin = time.perf_counter()
            while changes := watch.changes()[0]:
                for change in changes:
                    for part in read_parts(node, change, hashes, None):
                        inbox.put(part)
                    watch.sent(change)
            seconds += time.perf_counter() - begin
        assert (driver / "1.jsonl").stat().st_size == rows * len(line)
    print(json.dumps([peak.mib(), seconds]))


def memory_of(work: str, rows: int) -> tuple[float, float]:
    """One of WORK in a process of its own: MiB above its start, and seconds."""
    command = [sys.executable, __file__, work, str(rows)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, seconds = json.loads(found.stdout)
    return grown, seconds


class NothingToAsk:
    """Stands for engine and renderer where all answers are there already, with their tokens."""

    opening = ""

    def knows(self, ids: object) -> bool:
        """Whether the vocabulary has these tokens."""
        return True

    def sequence(self, messages: object, answer: list[int]) -> Rendered:
        """See `ChatRenderer`."""
        return Rendered(PROMPT + answer, [IGNORE_INDEX] * len(PROMPT) + answer)

    def prompt_ids(self, messages: object) -> list[int]:
        """A prompt of 200 tokens, the same for all: RENDERED bounds what prompts take."""
        return PROMPT

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """See `Answering`."""
        return independent(requests)

    def generate(self, requests: Sequence[Request], sampling: Sampling, **done: object) -> Iterator[list[Completion]]:
        """See `Answering`."""
        yield from ()


def finish_answers(rows: int) -> None:
    """Find, grade and write `rows` answers as the first replica does; print MiB of peak memory, seconds.

    What waits to be asked is kept small, because it grows to a limit only.
    """
    answers.CUT_TOGETHER, answers.RENDERED = 1024, 256
    asker: Any = NothingToAsk()
    with tempfile.TemporaryDirectory() as folder:
        config = ExperimentConfig(output_dir=Path(folder))
        run_dir = RunDir.of(config)
        for file in (run_dir.train_data, run_dir.answers_of_try(0)):
            file.parent.mkdir(parents=True)
        write_jsonl(run_dir.train_data, map(an_item, range(rows)))
        with run_dir.answers_of_try(0).open("wb") as log:
            log.writelines(line_of(an_answer(number)) for number in range(rows))
        task_of("own")  # what is imported does not count
        peak, begin = Peak(), time.perf_counter()
        items: Any = RowsOnDisk(run_dir.train_data)
        asked = teacher_messages(items, config)
        with redirect_stdout(sys.stderr):
            found = collect(items, asked, asker, asker, config, run_dir).answers
        curator = Curator(items, found, config)
        write_choices((curator.choose(item, found[item["id"]]) for item in items), run_dir, str)
        print(json.dumps([peak.mib(), time.perf_counter() - begin]))


def learn_from(rows: int) -> None:
    """Read and cut `rows` answers as a rank of scoring and one of KD do; print MiB of peak memory, seconds."""
    reader: Any = NothingToAsk()
    config = ExperimentConfig()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answers.jsonl")
        write_jsonl(file, (an_item(number) | asdict(an_answer(number)) for number in range(rows)))
        peak, begin = Peak(), time.perf_counter()
        sequences, counts = load_sequences(file, reader, config)
        hash_sequences(sequences)
        shards = [shard_of(part) for part in plan_shards(sequences, SHARD_ROWS)]
        store = SignalStore(Path(folder), SignalIndex(cast(Any, None), shards, "", LogitTransform(), [], None))
        trained, _, counts = hold_out(sequences, counts, config)
        assert Updates(SequenceDataset(trained, store), 0, 1).lengths[-1] == len(PROMPT) + TOKENS
        assert len(store) == rows
        print(json.dumps([peak.mib(), time.perf_counter() - begin]))


def ask_student(rows: int) -> None:
    """Read `rows` prompts and put them in the order of one pass, as a rank of OPD does; print as `learn_from` does."""
    from l2s.training.prompts import draw, load_prompts

    reader: Any = NothingToAsk()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "prompts.jsonl")
        write_jsonl(file, map(an_item, range(rows)))
        peak, begin = Peak(), time.perf_counter()
        asked = draw(load_prompts(file, reader, ExperimentConfig()).kept, rows, seed=0)
        assert len(asked[-1]) == 1
        print(json.dumps([peak.mib(), time.perf_counter() - begin]))


def shard_of(sequences: Sequence[TrainingSequence]) -> Shard:
    """The entry of a file of signals that is not there."""
    rows = accumulate(sequence.num_response_tokens for sequence in sequences)
    return Shard("none", "", [sequence.id for sequence in sequences], [0, *rows], "")


def an_item(number: int) -> dict[str, Any]:
    """A question of 100 words, whose answer nobody grades."""
    messages = [{"role": "user", "content": f"{'word ' * 100}{number}?"}]
    return {
        "id": f"math/{number}",
        "domain": "math",
        "source": "own",
        "messages": messages,
        "reference": "1",
        "meta": {},
    }


def layouts() -> dict[int, tuple[int, int, float]]:
    """Nodes -> processes of generation, ranks of SFT, and seconds of the driver to place both."""
    found = {}
    with as_folders(ExperimentConfig(engine="vllm", dtype="bfloat16")) as (config, _):
        for nodes in NODES:
            devices = find_hardware(config, f"p4d.24xlarge:{nodes}").devices
            begin, counts = time.perf_counter(), []
            for name in ("generate", "sft"):
                placed = place([STAGES[name]], devices.numbers, devices, config)[name]
                counts.append(len(groups_of(STAGES[name], placed, config, devices)))
            found[nodes] = (*counts, time.perf_counter() - begin)
    return found  # type: ignore[return-value]


def print_nodes(costs: Costs, found: dict[int, tuple[int, int, float]]) -> None:
    """The table by number of nodes."""
    print("| nodes | GPUs | replicas that answer | ranks of SFT | calls a second | of those possible | "
          "seconds to place | to reserve |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for nodes, (replicas, ranks, seconds) in found.items():
        calls = (replicas + nodes) / LOOK_S
        print(
            f"| {nodes} | {nodes * PER_NODE} | {replicas} | {ranks} | {calls:,.0f} | {calls / costs.calls:.1%} | "
            f"{seconds:.2f} | {costs.reserve[nodes]:.2f} |"
        )


def print_bytes(prompts: int) -> None:
    """What moves for a number of prompts, where nodes share no folder."""
    bytes_of_answers = prompts * len(line_of(an_answer(0)))
    tokens = prompts * TOKENS
    student = 2 * 8.19e9
    print(f"\n{prompts:,} prompts with answers of {TOKENS} tokens:\n\n| what | GiB | from | to |\n|---|---|---|---|")
    for what, size, source, target in (
        ("answers", bytes_of_answers, "each replica", "the driver and the first replica"),
        ("hidden states of the teacher (H = 2,048)", tokens * 2 * 2048, "scoring", "the driver and each node of KD"),
        (
            "top 64 with the tail",
            tokens * bytes_per_row(64, 151_936, RANK),
            "scoring",
            "the driver and each node of KD",
        ),
        ("the SFT student (8.19 B parameters)", student, "rank 0", "the driver and each node of KD and evaluation"),
    ):
        print(f"| {what} | {size / GIB:,.1f} | {source} | {target} |")


WORK = {"move": move_answers, "finish": finish_answers, "learn": learn_from, "ask": ask_student}


def main() -> None:
    """Measure, compute and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], help="driver's answers")
    parser.add_argument("--graded", type=int, nargs="+", default=[3_000, 25_000], help="the first replica's answers")
    parser.add_argument("--asked", type=int, nargs="+", default=[20_000, 40_000], help="prompts of OPD")
    parser.add_argument("--prompts", type=int, default=3_000_000)
    for work in WORK:
        parser.add_argument(f"--{work}", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for work, measure in WORK.items():
        if number := getattr(arguments, work):
            measure(number)
            return
    said: list[str] = []
    found = layouts()
    costs = measure_ray({nodes: replicas for nodes, (replicas, _, _) in found.items()})
    print(f"Ray starts in {costs.connect:.1f} s, an agent in {costs.first_agent:.1f} s and further ones in "
          f"{costs.next_agent:.1f} s; {costs.calls:,.0f} calls a second\n")  # fmt: skip
    print_nodes(costs, found)
    print_bytes(arguments.prompts)
    print("\n| process | rows | GiB on disk | MiB of memory | seconds |\n|---|---|---|---|---|")
    for process, work, sizes in (
        ("the driver, which passes them on", "--move", arguments.rows),
        ("the first replica, which grades and writes them", "--finish", arguments.graded),
        ("a rank of scoring, SFT or KD, which reads them", "--learn", arguments.graded),
        ("a rank of OPD, which reads prompts", "--ask", arguments.asked),
    ):
        grown: dict[int, float] = {}
        for rows in sizes:
            grown[rows], seconds = memory_of(work, rows)
            size = rows * (len(json.dumps(an_item(0))) if work == "--ask" else len(line_of(an_answer(0)))) / GIB
            print(f"| {process} | {rows:,} | {size:.2f} | {grown[rows]:.1f} | {seconds:.1f} |")
        if work == "--move":  # a few parts are in memory, however many follow (tests/runner/test_transfer.py)
            continue
        few, many = min(sizes), max(sizes)
        each = (grown[many] - grown[few]) * (1 << 20) / max(1, many - few)
        said.append(f"Each further row takes {each:.0f} bytes of {process.partition(',')[0]}: "
                    f"{each * arguments.prompts / GIB:.1f} GiB for {arguments.prompts:,}.")  # fmt: skip
    print("", *said, sep="\n")


if __name__ == "__main__":
    main()
