"""The verdict: one paragraph that says what the numbers allow one to say, and no more."""

from __future__ import annotations

from itertools import groupby

from l2s.report import formats
from l2s.report.schema import CONTRASTS, Contrast, Results
from l2s.report.strings import Text
from l2s.report.tables import bounds_text, domain_label


def write_verdict(results: Results, text: Text) -> str:
    """The paragraph, in the language of `text`."""
    if not results["evaluation"]:
        return text("say_nothing")
    sentences = [
        *_contrast_sentences(results, text),
        *_fidelity_sentences(results, text),
        *_size_sentences(results, text),
        *_contamination_sentences(results, text),
    ]
    if not results["comparisons"]:
        sentences.insert(0, text("say_no_student"))
    return text("space").join(sentences)


def _contrast_sentences(results: Results, text: Text) -> list[str]:
    """A sentence a contrast, all domains in it."""
    ordered = sorted(results["comparisons"], key=lambda found: CONTRASTS.index(_names(found)))
    return [
        text(
            "say_contrast",
            model=text(model),
            reference=text(reference),
            parts=text("join").join(_contrast_part(found, results, text) for found in group),
        )
        for (model, reference), group in groupby(ordered, key=_names)
    ]


def _names(contrast: Contrast) -> tuple[str, str]:
    return contrast["model"], contrast["reference"]


def _contrast_part(contrast: Contrast, results: Results, text: Text) -> str:
    least = contrast["minimum_detectable_difference"]
    return text(
        f"say_{contrast['verdict']}",
        domain=domain_label(results, contrast["domain"], text),
        difference=formats.points(contrast["difference"]),
        interval=bounds_text([bound * 100 for bound in contrast["ci95"]], text),
        detectable=text("say_undetectable", n=contrast["n"])
        if least is None
        else text("say_detectable", n=contrast["n"], points=f"{least * 100:.1f}"),
    )


def _fidelity_sentences(results: Results, text: Text) -> list[str]:
    """Only contrasts between trained students: that both are closer than the base is no news."""
    keys = {"lower": "say_closer", "higher": "say_farther", "no detectable difference": "say_as_close"}
    return [
        text(
            keys[contrast["verdict"]],
            model=text(contrast["model"]),
            reference=text(contrast["reference"]),
            kl=formats.nats(results["fidelity"][contrast["model"]]["mean_kl"]),
            kl_reference=formats.nats(results["fidelity"][contrast["reference"]]["mean_kl"]),
            interval=bounds_text(contrast["ci95"], text, 4),
        )
        for contrast in results["fidelity_comparisons"]
        if contrast["reference"] != "student_base" or len(results["fidelity_comparisons"]) == 1
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


def _contamination_sentences(results: Results, text: Text) -> list[str]:
    return [
        text("say_contaminated", domain=domain_label(results, domain, text))
        for domain, found in results["contamination"].items()
        if found["duplicates"]
    ]
