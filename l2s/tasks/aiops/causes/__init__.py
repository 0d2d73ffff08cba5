"""Every cause that an answer may name: the right one of some family, or a wrong one."""

from __future__ import annotations

from l2s.tasks.aiops.causes import databases, hosts, java, kubernetes, no_fault, services, web
from l2s.tasks.aiops.records import Phrases

NO_FAULT = "no_fault"  # always wrong for a log that has a fault

CAUSES: dict[str, Phrases] = {
    NO_FAULT: no_fault.WRONG_BESIDE_A_FAULT,
    **hosts.CAUSES,
    **services.CAUSES,
    **web.CAUSES,
    **java.CAUSES,
    **kubernetes.CAUSES,
    **databases.CAUSES,
}
