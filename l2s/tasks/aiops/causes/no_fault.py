"""Ways to say that a log shows no fault: right for a healthy log, and a wrong cause for any other."""

from __future__ import annotations

from l2s.tasks.aiops.records import Phrases, say

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
# Of a healthy log these are a verdict. Beside a fault they may be about one part ("the network works normally"), unless
# they are a clause of their own.
PERHAPS_OF_ONE_PART = say(
    "no fault|no faults|no failure|no incident|no outage|no problem|no issue|nothing is wrong|nothing wrong|"
    "nothing failed|nothing broke|healthy|operating normally|working normally|running normally|"
    "no [real/actual/genuine/true/apparent/evident/obvious/significant/serious/critical/underlying/service/system] "
    "[fault/failure/incident/outage/problem/issue/anomaly]|no [anomaly/anomalies/malfunction]|"
    "no [sign/signs/evidence/indication/trace] of [fault/failure/a fault/any fault/a failure/any failure/an incident/"
    "any incident/an outage/a problem/any problem]|not [a/any] [fault/failure/incident/outage]|no component ~ at fault|"
    "nothing ~ [wrong/broken/faulty/failed/abnormal/unusual/amiss/at fault]|nothing went wrong|nothing actually failed|"
    "[everything/all] ~ [normal/fine/good/well/ok/healthy]|normal operation|business as usual|"
    "[works/working/runs/running/operates/operating/behaves/behaved] [normally/fine/correctly/as expected/as usual]",
    "没有故障|运行正常|一切正常|系统正常|服务正常|健康|正常运行|没有什么问题|不是故障|"
    "[没有/没/无/并无/并没有/没有任何/无任何/不存在/不存在任何/未发现/未发现任何/没有发现/没有发现任何/未见/未见任何/未见明显/"
    "没有明显/无明显/未检测到/未检测到任何/没有检测到/未发生/没有发生/未出现/没有出现/没有真正的/没有实际/没有实质性/无实际/无真实]"
    "[故障/异常/问题/事故]",
)

# Likewise: "no errors were found" beside a fault is about the part named before it.
NO_ERRORS = say(
    "no [error/errors] [found/detected/seen/logged]|no [error/errors] [was/were] [found/detected/seen/logged]|"
    "no [error/errors] [in/found in] the log",
    "[没有/无/未见/未发现/没有发现/未检测到/没有检测到][错误/任何错误]|"
    "[未显示/没有显示/未显示出/未报告/没有报告][错误/任何错误/异常/任何异常/故障/任何故障/问题/任何问题]",
)


def _as_clauses(phrases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f";{phrase};" for phrase in phrases)


OF_ONE_PART = Phrases(PERHAPS_OF_ONE_PART.en + NO_ERRORS.en, PERHAPS_OF_ONE_PART.zh + NO_ERRORS.zh)
VERDICT = Phrases(OF_ONE_PART.en + ALL_IS_WELL.en, OF_ONE_PART.zh + ALL_IS_WELL.zh)
WRONG_BESIDE_A_FAULT = Phrases(
    ALL_IS_WELL.en + NEEDS_NOTHING.en + _as_clauses(OF_ONE_PART.en),
    ALL_IS_WELL.zh + NEEDS_NOTHING.zh + _as_clauses(OF_ONE_PART.zh),
)
