"""Secrets that l2s reads from the environment: a process gets those that it needs. Imports nothing from l2s.

Other variables are the user's: all processes but sandboxed programs get them, for trackers, mirrors and own graders.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

ENDPOINT_KEY = "L2S_ENDPOINT_KEY"
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # the hub's client reads either
SECRETS = (ENDPOINT_KEY, *HUB_TOKENS)


def without_secrets(environment: Mapping[str, str], keep: Collection[str] = ()) -> dict[str, str]:
    """A copy of `environment` with no secret but those in `keep`."""
    return {name: value for name, value in environment.items() if name not in SECRETS or name in keep}
