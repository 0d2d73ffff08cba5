"""The models that an experiment compares: the teacher, the base student, and one student for each way of training."""

from __future__ import annotations

from dataclasses import dataclass

COPY = "@"  # sft@2 is the arm sft, its stage or its student, trained with seed 2 beside the arm's first seed
TEACHER, BASE = "teacher", "student_base"


@dataclass(frozen=True)
class Model:
    """A model as the reports show it.

    Attributes:
        name: its key in results.json and the name of its files.
        title: its name in English reports; `title_zh` in Chinese ones.
        colour: colour of its dots in the figures.
        page_colours: its colours in report.html, on a light and on a dark background.
        contrasts: the models that it is compared with, declared before any result is seen.
    """

    name: str
    title: str
    title_zh: str
    colour: str
    page_colours: tuple[str, str]
    contrasts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """A way to train the student. `name` is its stage, its folder under outputs/NAME and its flag --run_NAME.

    Attributes:
        model: the student that it trains.
        title: the title of its learning curve.
        starts_from: the arm whose student it trains further, unless kd_init=base.
        learns_from_teacher: whether its loss has a divergence beside the cross-entropy; its curve then shows both.
    """

    name: str
    model: Model
    title: str
    starts_from: str | None = None
    learns_from_teacher: bool = False


ARMS = {
    arm.name: arm
    for arm in (
        Arm(
            "sft", Model("student_sft", "SFT", "SFT 学生", "#2f6fde", ("#2f6fde", "#6ea3ff"), contrasts=(BASE,)), "SFT"
        ),
        Arm(
            "kd",
            Model("student_kd", "KD", "KD 学生", "#d9730d", ("#c96a08", "#f5a34b"), contrasts=(BASE, "student_sft")),
            "KD",
            starts_from="sft",
            learns_from_teacher=True,
        ),
        Arm(
            "opd",
            Model(
                "student_opd",
                "OPD",
                "OPD 学生",
                "#8b4fd1",
                ("#8b4fd1", "#bd92f2"),
                contrasts=(BASE, "student_sft", "student_kd"),
            ),
            "OPD",
            starts_from="sft",
        ),
    )
}  # in training order

MODELS = {
    model.name: model
    for model in (
        Model(TEACHER, "Teacher", "教师", "#4b5563", ("#4b5563", "#b4bdca")),
        Model(BASE, "Base", "原始学生", "#9aa3b0", ("#8c96a4", "#788494")),
        *(arm.model for arm in ARMS.values()),
    )
}


def copy_name(name: str, seed: int) -> str:
    """The name of an arm, a stage or a model in the copy of the training with another seed."""
    return f"{name}{COPY}{seed}"


def original(name: str) -> str:
    """The name that a copy was made from; any other name is its own original."""
    return name.partition(COPY)[0]


CONTRASTS = tuple((model.name, reference) for model in MODELS.values() for reference in model.contrasts)
