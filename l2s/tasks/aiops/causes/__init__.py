"""Every cause that an answer may name: the right one of some family, or a wrong one."""

from __future__ import annotations

from l2s.tasks.aiops.causes import databases, hosts, java, kubernetes, services, web
from l2s.tasks.aiops.records import Phrases, say

NO_FAULT = "no_fault"  # always wrong for a log that has a fault

# Said of the whole: "no fault in the network" or "the database is healthy" may stand beside a fault.
ALL_IS_WELL = say(
    "no fault;|no faults;|there [is/are/was/were] no [fault/faults];|no [fault/faults] [found/detected/was found];|"
    ";no [failure/incident/outage/problem/issue/anomaly/anomalies];|;no [real/actual/genuine/true/apparent/evident/"
    "obvious/significant/serious/critical/underlying] [fault/failure/incident/outage/problem/issue/anomaly];|"
    "no incident occurred|there [is/was] no [failure/incident/outage/problem/issue/real issue];|"
    "nothing [is/was/looks/seems] [wrong/broken/faulty];|nothing [wrong/failed/broke];|nothing ~ at fault;|"
    ";healthy;|;all healthy;|[everything/all/system/log] [is/looks/seems/was] [healthy/fine/normal/in order/well];|"
    "all systems [are normal/normal/healthy];|;[operating/running/working] normally;|"
    "everything [works/runs/operates] [normally/as expected]",
    ";没有故障;|;[没有/无/并无/没有任何/未见/未发生/没有发生][故障/异常/问题/事故];|[系统/日志/服务/这里/整体][没有/无/并无/"
    "未发生][故障/异常/问题/事故]|不存在[故障/任何故障/异常];|未发现[故障/任何故障/异常/任何异常];|没有任何[故障/异常];|"
    "[一切/系统/系统运行/整体/整体运行]正常|;[运行/服务]正常;|;健康;|系统健康|日志正常",
)
NEEDS_NOTHING = say(
    "no action [is/was] [needed/required/necessary]|no action [needed/required/necessary]",
    "无需处理|不需要处理|无需任何处理|无需采取措施",
)

CAUSES: dict[str, Phrases] = {
    NO_FAULT: Phrases(ALL_IS_WELL.en + NEEDS_NOTHING.en, ALL_IS_WELL.zh + NEEDS_NOTHING.zh),
    **hosts.CAUSES,
    **services.CAUSES,
    **web.CAUSES,
    **java.CAUSES,
    **kubernetes.CAUSES,
    **databases.CAUSES,
}
