"""report.html: one file that holds everything and makes no network request.

Text of models reaches the page in two ways only: escaped by Jinja, or inside a compressed block that the script reads
and shows through textContent. A content security policy allows only that one script, by its hash.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from l2s.arms import ARMS, CONTRASTS, MODELS
from l2s.report.numbers.schema import Results
from l2s.report.page import plots as figures
from l2s.report.text.formats import NONE
from l2s.report.text.sections import build_sections
from l2s.report.text.strings import Text
from l2s.report.text.verdict import write_verdict
from l2s.tasks.table import TASKS
from l2s.visible import visible

# Fixed colours of the figures -> variables of page.css, so that figures follow light and dark mode.
THEME = {
    figures.INK: "var(--ink)",
    figures.MUTED: "var(--muted)",
    figures.GRID: "var(--line)",
    **{model.colour: f"var(--{model.name})" for model in MODELS.values()},
}
BROWSER_STRINGS = (
    "count_items", "no_items", "previous", "next", "prompt", "reference", "extracted", "details", "score", "cut",
    "tokens_unit", "no_unpack", "none", *MODELS,
)  # fmt: skip
FILTERS = (
    "filter_disagree",
    "filter_all_wrong",
    "filter_truncated",
)  # other filters of page.js compare two arms


def render_html(results: Results, items: Sequence[Mapping[str, Any]], plots: Mapping[str, str], text: Text) -> str:
    """The page; `items` are those of results.item_rows and `plots` the SVGs of plots.draw_plots."""
    script = _asset("page.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    return environment.from_string(_asset("page.html.jinja")).render(
        text=text,
        title=text("title", name=results["experiment_name"]),
        subtitle=f"{results['config']['teacher_model']} → {results['config']['student_model']}",
        verdict=write_verdict(results, text),
        warnings=results["warnings"],
        sections=build_sections(results, text, list(plots)),
        svgs={name: inline_svg(name, svg) for name, svg in plots.items()},
        domains=list(dict.fromkeys(item["domain"] for item in items)),
        filters=_filters(items, text),
        has_items=bool(items),
        none=NONE,
        packed_items=pack(items),
        strings=embed_json({key: _template(text, key) for key in BROWSER_STRINGS} | _status_names(text)),
        style=Markup(_colours() + _asset("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shown(value: object) -> object:
    """A value as the page shows it; what is markup already stays."""
    return visible(value) if type(value) is str else value


def _asset(name: str) -> str:
    return resources.files("l2s.report.page").joinpath(name).read_text(encoding="utf-8")


def _colours() -> str:
    """The page.css variable of each model's colour."""
    variables = (f"  --{model.name}: light-dark({', '.join(model.page_colours)});\n" for model in MODELS.values())
    return f":root {{\n{''.join(variables)}}}\n"


def _filters(items: Sequence[Mapping[str, Any]], text: Text) -> dict[str, str]:
    """Filters of the item browser and their names; two for each declared contrast of trained students in `items`."""
    present = {model for item in items for model in item["answers"]} & {arm.model.name for arm in ARMS.values()}
    pairs = [pair for contrast in CONTRASTS if present.issuperset(contrast) for pair in (contrast, contrast[::-1])]
    compared = {
        f"over {better} {worse}": text.spaced(text("filter_over", better=text(better), worse=text(worse)))
        for better, worse in pairs
    }
    return {"all_items": text("all_items")} | compared | {name: text(name) for name in FILTERS}


def _status_names(text: Text) -> dict[str, str]:
    statuses = {status for task in TASKS.values() for status in task.statuses}
    return {f"status_{status}": text.named(status) for status in sorted(statuses)}


def _template(text: Text, key: str) -> str:
    """A sentence whose blanks the script fills."""
    return text(key, shown="{shown}", n="{n}") if key == "count_items" else text(key)


def pack(items: Sequence[Mapping[str, Any]]) -> str:
    """gzip and base64: a tenth of the size, and no character that is special in HTML."""
    data = json.dumps(items, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def embed_json(value: object) -> Markup:
    """JSON for a <script> element; without `<`, no text can close the element."""
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))


def inline_svg(name: str, svg: str) -> Markup:
    """A figure for the page: scalable, in the page's colours, with ids that no other figure has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(figures.PAPER, "none")
    for colour, variable in THEME.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)
