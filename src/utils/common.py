"""`from src.utils.common import load_jsonl`: the reader of l2s under its well-known path."""

from l2s.jsonl import load_jsonl

__all__ = ["load_jsonl"]
