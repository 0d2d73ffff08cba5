"""States that several causes share, in many words: `<exhausted>` in a phrase stands for any of them."""

from __future__ import annotations

from l2s.tasks.aiops.records import Phrases, say

EN = {
    "exhausted": "exhausted/exhaustion/exhausts/exhausting/used up/use up/full/filled/filled up/fills up/depleted/"
    "depletion/drained/saturated/saturation/starved/starvation/ran out/run out/runs out/running out/out of/maxed out/"
    "at its limit/at the limit/at capacity/at its maximum/at its max/at its ceiling/at the ceiling/limit reached/hit "
    "its/hit the limit/hit the maximum/reached the limit/reached its/reached the maximum/reached its limit/overflow/"
    "overflows/overflowed/overflowing/overrun/consumed/all taken/all used/all in use/all busy/occupied/eaten up/none "
    "left/no free/no more/no room/no spare/insufficient/too small/too few/not enough",
    "wrong": "wrong/wrongly/incorrect/incorrectly/bad/mistaken/mistakenly/invalid/faulty/misconfigured/mis-configured/"
    "misconfiguration/mismatch/mismatched/mismatches/erroneous/erroneously/mis-set/misset/typo/error/broken/mistake",
    "missing": "missing/absent/does not exist/doesn't exist/do not exist/did not exist/not exist/nonexistent/"
    "non-existent/never created/not created/was not created/not there/is not there/not present/isn't there/deleted/"
    "unavailable/not available/never existed/no such/lacking/lacks",
    "not_responding": "down/dead/broken/unresponsive/not answering/not responding/does not reply/does not answer/"
    "doesn't answer/doesn't reply/doesn't respond/does not respond/not replying/no reply/no answer/unreachable/"
    "failing/fails/failed/failure/failures/timing out/time out/times out/timed out/timeout/timeouts/outage/silent/"
    "unavailable/hung/stopped/mute/faulty/crashed/malfunction/malfunctioning/gone",
    "late": "lag/lags/lagging/lagged/behind/delayed/delay/delays/slow/slowly/slower/late/stale/outdated/cannot keep "
    "up/can't keep up/not keeping up/fails to keep up/backlog/trails/trailing/out of date/out of sync",
}
ZH = {
    "exhausted": "耗尽/用尽/用完/用光/占满/占光/占完/占住/占着/全占/占用殆尽/殆尽/"
    "写满/打满/撑满/塞满/爆满/满/不足/不够/吃光/吃满/吃完/枯竭/见底/到顶/触顶/顶满/达到上限/到上限/超限/超过上限/"
    "已到最大值/到最大值/掏空/抽干/告罄/打爆/撑爆/饱和/溢出/没有剩余/无剩余/没有空闲/无空闲/没有可用/无可用/无余量",
    "wrong": "错误/有误/错/误/不对/不正确/不当/不一致/不匹配/不符/配错/写错/设错/填错/改错/误设/误配/异常",
    "missing": "不存在/缺失/缺少/没有/没建/未建/漏建/未创建/没有创建/没创建/"
    "找不到/丢失/被删/不见了/缺/尚未创建/并不存在",
    "not_responding": "故障/失败/失效/不响应/没有响应/无响应/没响应/没有应答/无应答/不应答/没应答/没有回应/"
    "超时/不可用/不通/挂/宕机/瘫痪/异常/坏/中断/停止/崩溃/不工作",
    "late": "滞后/落后/延迟/延时/来不及/跟不上/追不上/慢/积压/不同步/迟/堆积",
}


def parts(en: str, zh: str) -> Phrases:
    """`say` with the states of this file filled in."""
    return say(_filled(en, EN), _filled(zh, ZH))


def _filled(phrases: str, states: dict[str, str]) -> str:
    for name, words in states.items():
        phrases = phrases.replace(f"<{name}>", f"[{words}]")
    return phrases
