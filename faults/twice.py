"""Two commands on one experiment at a time: a second run is refused, and a report beside a run reads one state."""

from __future__ import annotations

import json
import time

from faults.compare import differences
from faults.experiment import Experiment, stages_at_work
from faults.kill import Tally
from faults.processes import Start, output_of, wait


def run_twice(experiment: Experiment, unbroken: Experiment, start: Start, tally: Tally) -> None:
    """Start a second run in every stage of the first: it must end with 2 and name the process that works there."""
    first = start(experiment)
    second = Experiment(experiment.folder, experiment.flags, output=experiment.folder / "second.txt")
    tried: set[str] = set()
    while first.poll() is None:
        new = set(stages_at_work(experiment.run_dir)) - tried
        if not new:
            time.sleep(0.01)
            continue
        code = wait(start(second))
        if first.poll() is not None:
            break  # it ended meanwhile, and the second had the folder to itself
        tried |= new
        tally.tried += 1
        tally.stages.update(new)
        said = output_of(second).read_text().splitlines()[-1]
        if code != 2 or f"another run is working in outputs/tiny (process {first.pid} on " not in said:
            tally.lost.append(f"a second run: status {code}, {said}")
    tally.lost += differences(experiment.run_dir, unbroken.run_dir)


def report_beside(experiment: Experiment, unbroken: Experiment, start: Start, tally: Tally) -> None:
    """Write reports while the experiment runs: each is whole, and of models whose numbers belong together."""
    run = start(experiment)
    config = experiment.run_dir.config_file
    while not config.exists() and run.poll() is None:
        time.sleep(0.01)
    beside = Experiment(
        experiment.folder, output=experiment.folder / "reports.txt", argv_instead=("report", "outputs/tiny")
    )
    while run.poll() is None:
        code = wait(start(beside))
        tally.tried += 1
        said = output_of(beside).read_text()
        if code != 0 or "Traceback" in said:
            tally.lost.append(f"a report: status {code}, {said[-300:]!r}")
            break
        results = json.loads(experiment.run_dir.results.read_text())
        shown = set(results["evaluation"])
        tally.lost += [f"a report shows {model} with no fidelity" for model in shown - set(results["fidelity"])]
    if wait(run) != 0:
        tally.lost.append(f"the run beside reports failed; see {output_of(experiment)}")
    tally.lost += differences(experiment.run_dir, unbroken.run_dir)
