"""The verdict: one paragraph that says what the numbers allow one to say, and no more."""

from __future__ import annotations

from itertools import groupby

from l2s.arms import CONTRASTS
from l2s.report.numbers.results import has_scores, is_contaminated
from l2s.report.numbers.schema import Contrast, Results, Verdict
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables import domain_label, is_detectable


def write_verdict(results: Results, text: Text) -> str:
    """The paragraph, in the language of `text`."""
    if not results["evaluation"]:
        return text("say_nothing")
    sentences = [
        *_contrast_sentences(results, text),
        *_fidelity_sentences(results, text),
        *_size_sentences(results, text),
        *contamination_sentences(results, text),
    ]
    if not results["comparisons"]:
        sentences.insert(0, text("say_no_student" if has_scores(results) else "say_not_graded"))
    return text.spaced(text("space").join(sentences))


def _contrast_sentences(results: Results, text: Text) -> list[str]:
    """A sentence a contrast, with its domains grouped by what was found there."""
    ordered = sorted(results["comparisons"], key=lambda found: CONTRASTS.index(_names(found)))
    sentences = [
        text("say_contrast", model=text(model), reference=text(reference), parts=_parts(list(group), results, text))
        for (model, reference), group in groupby(ordered, key=_names)
    ]
    if any(is_detectable(contrast) for contrast in ordered):
        sentences.append(text("say_units"))
    return [*sentences, *_unseen_sentences(ordered, text)]


def _unseen_sentences(contrasts: list[Contrast], text: Text) -> list[str]:
    """What the contrasts without a detectable difference could have missed."""
    unseen = [contrast for contrast in contrasts if not is_detectable(contrast)]
    if not unseen:
        return []
    least = [found * 100 for contrast in unseen if (found := contrast["minimum_detectable_difference"]) is not None]
    if len(least) < len(unseen):
        return [text("say_too_few")]
    return [text("say_unseen", low=f"{min(least):.0f}", high=f"{max(least):.0f}")]


def _names(contrast: Contrast) -> tuple[str, str]:
    return contrast["model"], contrast["reference"]


def _parts(contrasts: list[Contrast], results: Results, text: Text) -> str:
    verdicts: tuple[Verdict, ...] = ("higher", "lower", "no detectable difference")
    found = {
        verdict: [_finding(contrast, results, text) for contrast in contrasts if contrast["verdict"] == verdict]
        for verdict in verdicts
    }
    return text("join").join(
        text(f"say_{verdict}", domains=text("comma").join(parts)) for verdict, parts in found.items() if parts
    )


def _finding(contrast: Contrast, results: Results, text: Text) -> str:
    """math (+12.5 [+5.9, +20.4]), or the bare domain where there is nothing to claim."""
    label = domain_label(results, contrast["domain"], text)
    if not is_detectable(contrast):
        return label
    low, high = (formats.points(bound) for bound in contrast["ci95"])
    return label + text("say_finding", difference=formats.points(contrast["difference"]), low=low, high=high)


def _fidelity_sentences(results: Results, text: Text) -> list[str]:
    """Contrasts between trained students, and of the base what is news: a student that did not come closer than it."""
    keys = {"lower": "say_closer", "higher": "say_farther", "no detectable difference": "say_as_close"}
    return [
        text(
            keys[contrast["verdict"]],
            model=text(contrast["model"]),
            reference=text(contrast["reference"]),
            kl=formats.nats(results["fidelity"][contrast["model"]]["mean_kl"]),
            kl_reference=formats.nats(results["fidelity"][contrast["reference"]]["mean_kl"]),
            difference=formats.signed(contrast["difference"], 4),
            low=formats.signed(contrast["ci95"][0], 4),
            high=formats.signed(contrast["ci95"][1], 4),
        )
        for contrast in results["fidelity_comparisons"]
        if contrast["reference"] != "student_base"
        or contrast["verdict"] != "lower"
        or len(results["fidelity_comparisons"]) == 1
    ]


def _size_sentences(results: Results, text: Text) -> list[str]:
    """Size and speed of the student that was trained last."""
    if not results["ratios"]:
        return []
    ratio = list(results["ratios"].values())[-1]
    if not ratio["parameters"] or not ratio["tokens_per_second"]:
        return []
    return [
        text(
            "say_size",
            parameters=formats.rate(ratio["parameters"]),
            speed=formats.rate(ratio["tokens_per_second"]),
        )
    ]


def contamination_sentences(results: Results, text: Text) -> list[str]:
    """A sentence for each domain whose evaluation items were in the training data."""
    return [
        text("say_contaminated", domain=domain_label(results, domain, text))
        for domain in results["contamination"]
        if is_contaminated(results, domain)
    ]
