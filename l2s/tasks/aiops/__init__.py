"""AIOps: find the root cause in a log. A seeded benchmark, graded by the concepts that an answer names."""

from l2s.tasks.aiops.control_answers import controls
from l2s.tasks.aiops.items import eval_items, train_items
from l2s.tasks.aiops.scoring import METRIC, STATUSES, grade
from l2s.tasks.aiops.task import TASK

__all__ = ["METRIC", "STATUSES", "TASK", "controls", "eval_items", "grade", "train_items"]
