"""States that several causes share, in many words: `<exhausted>` in a phrase stands for any of them.

English words are given in one form: a part of a phrase takes other endings (matching.py).
"""

from __future__ import annotations

from l2s.tasks.aiops.records import Phrases, say

EN = {
    "exhausted": "exhaust/exhaustion/use up/used all/uses all/all used/fully used/full/fill/fill up/deplete/depletion/"
    "drain/saturate/saturation/starve/starvation/ran out/run out/running out/out of/max out/overflow/overrun/consume/"
    "consumption/all taken/took all/take up/all in use/all busy/occupy/eat/eat up/ate/eaten/swallow/hog/devour/"
    "burn/burnt/blew/blown/clog/jam/cram/pack/brim/dry/none left/none free/nothing left/gone/no room/no spare/"
    "insufficient/too small/too few/too little/too low/too tight/not enough/inadequate/shortage/short of/scarce/"
    "no headroom/choke/top out/sap/run dry/100 percent/zero bytes/0 bytes/hit zero/at zero/ceiling of",
    "wrong": "wrong/wrongly/incorrect/incorrectly/bad/badly/mistake/mistaken/mistakenly/invalid/faulty/misconfigure/"
    "misconfiguration/mismatch/erroneous/erroneously/mis-set/misset/typo/mistype/error/broke/broken/misdirect/"
    "not match/off/bogus/botch/mess up/regression/misplace",
    "missing": (
        "missing/absent/not exist/nonexistent/non-existent/never created/not created/never made/nobody created/no one "
        "created/nobody made/no one made/nobody ever made/not there/not present/delete/unavailable/not available/"
        "never existed/no such/lack/gone/not in the/not be found/unknown/not defined/undefined/does not have/has no/"
        "never set up/vanish"
    ),
    "not_responding": "down/dead/die/broken/broke/unresponsive/not answer/not respond/not reply/no reply/no answer/"
    "no response/unanswered/unreachable/not be reached/fail/failure/time out/timing out/timeout/outage/silent/"
    "unavailable/hung/hang/hanging/stop/stall/mute/faulty/crash/malfunction/gone/offline/out/not work/out of service/"
    "refuse/lost/unserviceable/not reachable",
    "late": "lag/behind/delay/slow/slowly/slower/late/stale/outdated/not keep up/not keeping up/fail to keep up/"
    "backlog/trail/out of date/out of sync/not caught up/not catch up/old data/old rows/old state/not replayed/"
    "not applied/far back/not current/not up to date",
}
ZH = {
    "exhausted": (
        "耗尽/用尽/用完/用光/耗光/花光/吃光/占光/写光/打光/榨干/借光/跑光/烧光/占完/占住/占着/全占/霸占/占用殆尽/殆尽/"
        "将尽/满/爆/不足/不够/吃完/枯竭/见底/到顶/触顶/顶到/顶住/达上限/达到上限/到上限/到了上限/碰到上限/触及上限/"
        "撞上限/撞上/触上限/达限/超限/超上限/超过上限/超出上限/到最大/达到最大/达最大/已达 max/到了 max/到 max/掏空/"
        "抽干/抽空/借空/占空/空了/告罄/饱和/溢出/没了/没剩/剩余为 0/为 0/为零/归零/清零/无余量/没余量/没有余量/"
        "没有空位/没空位/没名额/没有名额/上限太低/太小/过小/紧缺/短缺/挤占/囤/塞/缺"
    ),
    "wrong": "错/误/不对/不正确/不当/不一致/不匹配/不符/异常/写坏/改坏/不准/对不上/乱",
    "missing": (
        "不存在/缺/没有/没建/未建/漏建/未创建/没创建/找不到/丢失/被删/不见了/未找到/查无/没这个/没了/没 {secret}"
    ),
    "not_responding": (
        "故障/失败/失效/失联/不响应/没有响应/无响应/没响应/没反应/无反应/没有反应/不应答/没应答/无应答/没有应答/"
        "没有回应/没回应/无回应/不回/超时/不可用/不可达/不通/不了/不出/不到/挂/宕/瘫痪/异常/坏/中断/停/崩/不工作/死/断/失灵"
    ),
    "late": (
        "滞后/落后/延迟/延时/来不及/跟不上/赶不上/追不上/慢/积压/不同步/迟/堆积/没追平/未追平/没跟上/太旧/陈旧/旧数据/"
        "过时/卡住/差"
    ),
}
NONE_LEFT = {
    "en": (
        " & [no/zero/not a/not any/without/nothing] & [left/remain/available/free/spare/vacant/idle/any more/to spare]"
    ),
    "zh": " & [没有/没/无/零] & [剩/空闲/可用/空位/余/名额/多余]",
}
AT_BOUND = {
    "en": (
        " & [hit/reach/at/exceed/over/beyond/touch/past/against/up to] & [limit/max/maximum/ceiling/cap/capacity/100%/"
        "zero/its top]"
    ),
    "zh": " & [达/到/碰/触/撞/顶/超/用满] & [上限/最大/限额/限制/100%]",
}
EXHAUSTED = " & <exhausted>"


def parts(en: str, zh: str) -> Phrases:
    """`say` with the states of this file filled in.

    What may be exhausted may also have none left, or be at its limit.
    """
    return say(_filled(en, "en", EN), _filled(zh, "zh", ZH))


def _filled(phrases: str, language: str, states: dict[str, str]) -> str:
    said = []
    for phrase in phrases.split("|"):
        said.append(phrase)
        if phrase.endswith(EXHAUSTED):
            thing = phrase.removesuffix(EXHAUSTED)
            said += [thing + NONE_LEFT[language], thing + AT_BOUND[language]]
    filled = "|".join(said)
    for name, words in states.items():
        filled = filled.replace(f"<{name}>", f"[{words}]")
    return filled
