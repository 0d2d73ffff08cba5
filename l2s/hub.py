"""The model hub: whether it can be reached, which is asked once, and its data sets.

The hub's clients try an unreachable host six times for each file, which takes minutes. So l2s asks the endpoint once.
If it does not answer, this process and its children go offline: models in the cache still load, and others fail at
once. Downloads keep the clients' own time limits and retries.
"""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from l2s.jsonl import Row

FOUND_BY_PARENT = "L2S_HUB_TROUBLE"  # environment variable that tells a stage's process why it is offline
GATEWAY_ERRORS = (502, 503, 504)  # a proxy or load balancer sends these when the server behind it does not answer


class HubError(RuntimeError):
    """The hub did not return what was asked for. The message is one line that says why."""


@cache
def trouble() -> str | None:
    """Why the hub cannot be reached, or None if it answers. Only the first call asks.

    The endpoint is $HF_ENDPOINT or huggingface.co. It has $HF_HUB_ETAG_TIMEOUT seconds (10 by default) to answer. This
    includes name resolution and all of its addresses.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return os.environ.get(FOUND_BY_PARENT, "HF_HUB_OFFLINE is set: unset it to ask the hub")
    if found := _ask_within(constants.ENDPOINT, constants.HF_HUB_ETAG_TIMEOUT):
        found = without_password(found)
        _go_offline(found)
    return found


def _ask_within(endpoint: str, timeout_s: float) -> str | None:
    """Ask in a thread, because a client's timeout limits neither name resolution nor a host's further addresses."""
    answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(_ask(endpoint, timeout_s)), daemon=True).start()
    try:
        return answer.get(timeout=timeout_s)
    except queue.Empty:
        return f"{endpoint} did not answer within {timeout_s:.0f} s; HF_HUB_ETAG_TIMEOUT sets another limit"


def _ask(endpoint: str, timeout_s: float) -> str | None:
    from huggingface_hub import get_session

    try:
        status = get_session().head(endpoint, timeout=timeout_s, follow_redirects=False).status_code
    except Exception as error:  # unknown host, refused, certificate, proxy, malformed HF_ENDPOINT
        return f"{endpoint} cannot be reached: {first_line(error)}"
    return f"{endpoint} answers with status {status}" if status in GATEWAY_ERRORS else None


def _go_offline(found: str) -> None:
    """Make the hub's clients read only their caches, in this process and in those it starts."""
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ[FOUND_BY_PARENT] = found
    constants.HF_HUB_OFFLINE = True
    loaded: Any = sys.modules.get("datasets.config")  # modules imported later read the constant above
    if loaded is not None:
        loaded.HF_HUB_OFFLINE = loaded.HF_DATASETS_OFFLINE = True


def expect(model: str) -> None:
    """Find out whether the hub answers, unless `model` is a local folder. Call it before `model` is looked up."""
    if not Path(model).is_dir():
        trouble()


def asks_for_code(error: Exception) -> str | None:
    """What to do about a model that needs Python code from its repository; None if `error` says something else."""
    if "trust_remote_code" not in str(error):
        return None
    return (
        "it needs Python code from its repository, which could do anything that you can; read that code, then add "
        "--trust_remote_code, or choose a model that transformers knows"
    )


def explain(model: str, error: Exception) -> str:
    """Why the hub did not return `model`, and what to do about it, in one line."""
    if found := trouble():
        return (
            f"it is no folder here and not in the hub's cache, and {found}; give a local folder, or set "
            "HF_ENDPOINT to a mirror that this machine reaches (and HF_TOKEN for a gated model)"
        )
    return (
        f"the hub does not give it ({first_line(error)}); check the name, set HF_TOKEN for a gated or private "
        "model, or give a local folder"
    )


def first_line(error: Exception) -> str:
    """The first line of an error message, with the next one if it ends with a colon."""
    text = without_password(str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def without_password(text: str) -> str:
    """`text` without the user and password that URLs in it hold, as HF_ENDPOINT of a private mirror may."""
    return re.sub(r"(?<=://)[^/\s'\"]*@", "", text)


def dataset_rows(name: str, subset: str, split: str) -> list[Row]:
    """The rows of one split of a data set.

    Raises:
        HubError: neither the hub nor its cache gives it.
    """
    trouble()
    try:
        from datasets import load_dataset

        return [dict(row) for row in load_dataset(name, subset, split=split)]
    except Exception as error:
        raise HubError(trouble() or first_line(error)) from None
