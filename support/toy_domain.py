"""A minimal domain: capitals of countries. tests/tasks/test_domain.py adds it to the table."""

from __future__ import annotations

from pydantic import Field

from l2s.config import ExperimentConfig
from l2s.tasks.task import COMMON_NAMES, Lengths, Names, Split, Task
from l2s.tasks.types import Grade, Item

CAPITALS = {"France": "Paris", "Peru": "Lima", "Kenya": "Nairobi", "Japan": "Tokyo", "Egypt": "Cairo", "Iran": "Tehran"}


class ToyConfig(ExperimentConfig):
    """The fields that a domain adds to the configuration."""

    toy_train_size: int = Field(4, ge=0, description="training items on capitals")
    toy_eval_size: int = Field(2, ge=0, description="evaluation items on capitals")


def items(split: Split, config: ExperimentConfig) -> list[Item]:
    countries = list(CAPITALS)[:4] if split == "train" else list(CAPITALS)[4:]
    return [
        Item(
            id=f"toy-{country.lower()}",
            domain="toy",
            source="atlas",
            messages=[{"role": "user", "content": f"What is the capital of {country}?"}],
            reference=CAPITALS[country],
            meta={"problem": country, "continent": "Africa"},
        )
        for country in countries[: TASK.size(split, config)]
    ]


def grade(item: Item, response: str, finish_reason: str, config: ExperimentConfig) -> Grade:
    right = item["reference"] in response
    return Grade(float(right), "correct" if right else "elsewhere", response[:20], {"on_the_map": True})


TASK = Task(
    name="toy",
    title=Names("capitals", "首都"),
    metric=lambda config: "capitals named",
    statuses=("correct", "elsewhere"),
    train_items=lambda config: items("train", config),
    eval_items=lambda config: items("eval", config),
    grade=grade,
    lengths=lambda split, config: Lengths("atlas", 20, 30, 5, 10, 4),
    trial={"toy_train_size": 4, "toy_eval_size": 2},
    names=COMMON_NAMES
    | {
        "capitals named": Names("capitals named", "首都命中率"),
        "elsewhere": Names("elsewhere", "答非所问"),
        "on_the_map": Names("on the map", "在地图上"),
        "gold": Names("the reference answer", "参考答案"),
        "silence": Names("silence", "沉默"),
    },
    cluster_fields=("continent",),
    strict_detail="on_the_map",
    controls=lambda items: {"gold": 1.0, "silence": 0.5},
    note=lambda config: Names("Capitals come from an atlas.", "首都取自地图册。"),
    stand_ins={"atlas": Names("The atlas is old.", "地图册很旧。")},
)
