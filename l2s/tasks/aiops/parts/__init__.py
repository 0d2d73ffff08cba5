"""Causes made of parts: a thing and its state in one clause, in either order ("&" in a phrase).

In logs of the style that has the family, such a wording counts as the cause, and blames the family where another cause
is right. In logs of other styles only the wordings in causes/ do: "the volume" and "behind" mean different things in
different logs.
"""

from __future__ import annotations

from l2s.tasks.aiops.parts import databases, hosts, java, kubernetes, services, web
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    **hosts.PARTS,
    **services.PARTS,
    **web.PARTS,
    **java.PARTS,
    **kubernetes.PARTS,
    **databases.PARTS,
}
