"""Speed and look of report.html: a made-up run of 350 items and 5 models in headless Chromium.

Prints the size of the page, the median time until it is ready and painted, and that of a search. Saves screenshots of
the whole page and of its item browser at 390 and 1280 px, light and dark, in English and Chinese. Run it with `python
-m benchmarks.report_page FOLDER`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from l2s.config import ExperimentConfig
from l2s.report import stage
from l2s.run_dir import RunDir
from support.chromium import CHROMIUM, Page, open_page
from support.synthetic_run import make_run

REPEATS = 5
WORDS = 512  # words of an answer
WIDTHS = (390, 1280)
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
SEARCH = """
(() => {
  const box = byId("search"), begin = performance.now();
  box.value = WORDS;
  box.dispatchEvent(new Event("input"));
  byId("list").getBoundingClientRect();
  return performance.now() - begin;
})()
"""


def main() -> None:
    if CHROMIUM is None:
        sys.exit("chromium is not installed")
    shots = Path(sys.argv[1])
    shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="l2s-page-") as name:
        scratch = Path(name)
        config, run_dir = make_run(
            scratch, code_train_source="humaneval", math_source="synthetic", response_words=WORDS
        )
        stage.run(config, run_dir)
        measure(run_dir, scratch / "profile")
        photograph(config, run_dir, shots, scratch / "second-profile")


def measure(run_dir: RunDir, profile: Path) -> None:
    report = run_dir.evaluation / "report.html"
    predictions = sum(file.stat().st_size for file in run_dir.predictions("teacher").parent.iterdir())
    print(f"predictions {predictions / 1e6:.1f} MB, report.html {report.stat().st_size / 1e6:.2f} MB")
    with open_page(profile) as page:
        opened = [time_to_open(page, report) for _ in range(REPEATS)]
        searches = [page.evaluate(SEARCH.replace("WORDS", f"'word{i}_3 question'")) for i in range(REPEATS)]
    print(f"ready and painted: median {statistics.median(opened):.2f} s, {min(opened):.2f} to {max(opened):.2f}")
    print(f"search: median {statistics.median(searches):.0f} ms, {min(searches):.0f} to {max(searches):.0f}")


def time_to_open(page: Page, report: Path) -> float:
    """Seconds from the address to the first picture with all items listed."""
    begin = time.monotonic()
    page.open(report)
    page.evaluate(PAINTED)
    return time.monotonic() - begin


def photograph(config: ExperimentConfig, run_dir: RunDir, shots: Path, profile: Path) -> None:
    with open_page(profile) as page:
        for lang in ("en", "zh"):
            stage.run(config.model_copy(update={"lang": lang}), run_dir)
            for width in WIDTHS:
                for dark in (False, True):
                    page.open(run_dir.evaluation / "report.html", width=width, dark=dark)
                    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
                    page.evaluate(PAINTED)
                    name = f"{lang}-{width}-{'dark' if dark else 'light'}"
                    page.screenshot(shots / f"{name}.png", whole=True)
                    page.evaluate("byId('items').scrollIntoView()")  # entries outside the window are not painted
                    page.evaluate(PAINTED)
                    page.screenshot(shots / f"{name}-items.png")
    print(f"screenshots in {shots}")


if __name__ == "__main__":
    main()
