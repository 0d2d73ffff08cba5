"""What an answer denies: "not a deadlock", "A, B and C were ruled out", "排除A、B和C"."""

from __future__ import annotations

import re
from collections.abc import Sequence

Span = tuple[int, int]  # start and end in a text

# Words that may stand between a denial and what it denies: "not caused by the disk", "does not point to a deadlock".
EN_FILLER = (
    "a|an|the|any|some|this|that|by|due|to|because|from|of|for|in|with|about|at|on|caused|related|likely|probably|"
    "simply|just|really|actually|necessarily|evidence|sign|signs|indication|indications|hint|trace|symptom|case|"
    "problem|problems|issue|issues|fault|cause|real|actual|root|be|been|being|it|is|was|possible|possibility|there|"
    "reason|suspect"
)
EN_SHOWS = (
    "(?:show|indicate|suggest|imply|mean|reveal|support|confirm|prove|think|believe|suspect|assume|expect|see|consider|"
    "blame|(?:look|seem|appear)s? like|points? (?:to|at))"
)
EN_DENIAL = (
    r"(?:not|never|(?<!batch )no|nor|neither|without|cannot|excludes?|excluded|excluding|unlikely|dismiss(?:es|ed)?|"
    rf"nothing(?: that)?(?=\s+{EN_SHOWS})|"
    r"eliminated?|(?:unrelated|irrelevant) to|nothing to do with|(?<!no )(?<!without )(?<!without a )doubt|"
    r"(?<!cannot )(?<!n't )(?<!not )rul(?:e|es|ed|ing) out|rather than|instead of|as opposed to|\w+n't)"
)
# "not a deadlock or ...", "neither the disk nor ...", "not the mailer, the disk, or ..."
EN_ENTRY = r"[\w\-]+(?:\s+[\w\-]+){0,3}"
EN_ALTERNATIVE = rf"(?:\s+{EN_ENTRY}(?:,\s+{EN_ENTRY}){{0,3}},?\s+(?:or|nor)(?:\s+(?:{EN_FILLER}))*)?"
EN_BEFORE = (
    rf"\b{EN_DENIAL}:?(?:\s+{EN_SHOWS}s?(?!\s+(?:because|due|by)\b))?(?:\s+(?:{EN_FILLER}))*{EN_ALTERNATIVE}\s+$"
)
ZH_DENIAL = (
    "不是|并非|而非|不像|不属于|不太?可能|不大可能|不应|不认为|看似|貌似|误报|误判|"
    "(?<!无法)(?<!不能)(?<!难以)(?<!不)排除了?:?|"
    "没有|不存在|不涉及|未(?:见|发现|出现|观察到|显示|触发|检测到|涉及)|无|非"
)
ZH_FILLER = (
    r"(?:因为|由于|由|因|任何|发生|出现|存在|证据|迹象|表明|显示|说明|证明|发现|检测|观察|看|归咎于|归因于|为|了|是|的|"
    r"到|\s)*"
)
ZH_BEFORE = rf"(?:{ZH_DENIAL}){ZH_FILLER}$|(?:不是|并非|排除了?){ZH_FILLER}[^,。;!?]{{1,10}}(?:或者?|、){ZH_FILLER}$"
DENIED_BEFORE = re.compile(f"{EN_BEFORE}|{ZH_BEFORE}")
# "Ruled out: A, B, C"
COLON_BEFORE = re.compile(rf"(?:{EN_DENIAL}|排除了?)\s*:\s*(?:(?:a|an|the)\s+)?$")

END = r"(?=\s*(?:[.,;!?)\]]|$|(?:and|but)\b))"  # of a clause
# Not "found" or "present": "the missing secret is not found" denies nothing.
EN_INNOCENT = (
    r"(?:not|n't)\s+(?:the|an?|it|to blame|responsible|involved|related|at fault|likely|possible|plausible|observed|"
    r"indicated|supported|evident|confirmed|in effect|reached|hit|exceeded)\b"
)
EN_DISMISSED = (
    r"(?:(?:(?:considered|suspected|checked|investigated),? (?:but|and) (?:\w+ )?)?"
    r"(?:ruled out|excluded|eliminated|dismissed|discounted|discarded)|impossible(?! to)|implausible|unlikely(?! to)|"
    r"improbable|"
    r"innocent|unrelated|irrelevant|out of the question|"
    r"an? (?:mere )?(?:red herring|distraction|false alarm|symptom|side effect))\b"
)
EN_IS = (
    r"(?:is|was|are|were|(?:has|have|had) been|(?:can|could|may|must)(?: safely)? be|seems?|appears?|looks?)"
    r"(?:\s+(?:both|all|also|therefore|thus|hence|clearly|already|definitely|very|highly|most|quite|now|only|just|"
    r"merely|simply|probably))*"
)
EN_TURN = "but|because|and|so|while|whereas|although|though|yet|as|since|with|when|where"
EN_AFTER = (
    rf"(?:\s+(?!(?:{EN_TURN})\b|[-.:]+\s)[\w\-./:]+){{0,2}}\s+(?:{EN_IS}(?:\s*{EN_INNOCENT}|\s+{EN_DISMISSED})|"
    r"(?:cannot|can't|could not|couldn't|does not|doesn't|do not|don't)\s+(?:be the|explain|fit|apply)\b)"
    rf"|\s+(?:(?:already )?(?:{EN_INNOCENT}|{EN_DISMISSED}){END}|not the (?:root )?cause\b)"
    rf"|\s*[?:]\s*no{END}|,?\s+but\s+(?:it|this|that)\s+(?:is|was)\s*(?:not|n't)(?=\s*(?:[.,;!]|$))"
)
ZH_SMALL = "(?:很小|较小|极小|很低|较低|极低|不大)"
ZH_AFTER = (
    "(?:本身|问题|故障|等)*(?:的(?:可能性?|嫌疑|迹象|假设))?(?:与此)?(?:均|都|皆|全部|也|已经|已|可以|可|被|予以)*"
    f"(?:无关|没有关系|并?不是|并非|不成立|不可能|(?:可能性|(?<=可能性)){ZH_SMALL}|排除|"
    "(?:只|仅|仅仅|不过)是(?:表象|表面现象|现象|症状))"
)
DENIED_AFTER = re.compile(rf"^(?:{EN_AFTER}|\s*{ZH_AFTER})")
# "A (ruled out)", "A, ruled out"; but "A, ruled out B" denies B.
TAG = re.compile(
    rf"^\s*[,(:\[–—-]+\s*(?:(?:was|were|is|are|been|now|already|both|all)\s+)*"
    rf"(?:{EN_DISMISSED}|not the (?:root )?cause\b|(?:均|都|也|已经|已|可|被)*排除)\s*(?=[.,;!?。)\]]|$)"
)

# Of a fault: "a DNS failure was not found". Of what a fault lacks it is the fault itself: "the host was not found".
NOT_SEEN = re.compile(
    r"^(?:\s+(?:errors?|problems?|issues?|events?|messages?|entries|signs?))?\s+"
    r"(?:is|was|are|were|(?:has|have|had) been|(?:can|could) be)\s+(?:not|nowhere)\s+(?:be\s+)?"
    r"(?:found|seen|detected|present|visible|reported|logged)"
    r"(?=\s*(?:[.,;!?)\]]|$|(?:and|but|here|anywhere|at all|in)\b))"
    r"|^\s+(?:could|can) ?not be (?:found|seen|detected)\b"
    r"|^\s*的?(?:问题|故障|错误|现象|迹象|等)*(?:均|都|也|并)*(?:未|没有?)(?:发现|出现|见到|检测到|发生|看到|观察到)"
)
LACKS = re.compile(
    r"\b(?:missing|absent|not|no|never|lacks?|lacking|without|unknown|nonexistent|gone|lost)\b|[不没未无缺]"
)
# "没有磁盘空间不足的问题" has no lack, though it begins like "没有磁盘空间".
LACK_OF = re.compile(r"^\s*(?:不足|不够|耗尽|用尽|用完|告急|已满|短缺)")

# What does no harm, or no longer, is to blame for nothing, though an answer to a healthy log names it as evidence.
HARMLESS_BEFORE = re.compile(
    r"(?:(?<!not )(?<!is )(?<!are )\bharmless(?: warnings?)?:?\s+(?:(?:an?|the)\s+)?|无害的?(?:告警|警告)?:?\s*)$"
)
HARMLESS_AFTER = re.compile(
    rf"^(?:(?:\s+(?:alert|alarm|warning|message|entry|problem|issue)s?)?\s+(?:that\s+)?(?:{EN_IS}\s+)?(?:already\s+)?"
    rf"(?:harmless|benign|fine|ok|okay|healthy|normal|zero|resolved|fixed|a false positive){END}|"
    rf"\s+works(?: (?:fine|well|normally))?{END}|"
    r"(?:本身|问题|故障|等|告警|警告)*(?:均|都|也|早|已经|已|皆)*"
    r"(?:正常|无害|[是属]误报|为 ?0|(?<=已)(?:恢复|解决|修复)))"
)

# Separators of list entries: "A on web-1, B", "A, or the B", "A、B和C"; but "A，与B无关" is about B alone.
JOIN = re.compile(
    r"(?:\s+(?:on|of|at|in|for)\s+[^\s,;。]+)?\s*(?P<comma>,)?\s*(?P<pause>、|/)?\s*"
    r"(?P<word>and/or|and|or|nor|as well as|以及|或者?|(?<!,)(?<!, )(?:和|与|及)|还是)?\s*"
    r"(?:(?:an?|the|any|some|even|either)\s+)*"
)
FINITE = re.compile(r"\b(?:is|are|was|were|has|have|ran|crashed|fails|failed|filled|leaks?|holds|lacks)\b")


def is_denied(text: str, span: Span, listed: Sequence[Span]) -> bool:
    """Whether normalised `text` denies what it says at `span`, alone or in a list with the causes at `listed`."""
    if _is_denied_alone(text, span):
        return True
    if not any(start < span[1] and span[0] < end for start, end in listed):
        return False
    entries = _merged([*listed, span])
    place = next(index for index, (start, end) in enumerate(entries) if start <= span[0] < end)
    first, last = _list_of(text, entries, place)
    run_start = entries[_run(text, entries, place)[0]][0]
    return bool(
        _is_denied_alone(text, entries[place])
        or DENIED_BEFORE.search(text, 0, entries[first][0])
        or DENIED_BEFORE.search(text, 0, entries[last][0])  # "not a slow network, A or B": the list begins before A
        or DENIED_AFTER.match(text[entries[last][1] :])
        or COLON_BEFORE.search(text, 0, run_start)
    )


def is_harmless(text: str, span: Span) -> bool:
    """Whether normalised `text` says that what stands at `span` does no harm: "the deadlock warning is harmless"."""
    return bool(HARMLESS_BEFORE.search(text, 0, span[0]) or HARMLESS_AFTER.match(text[span[1] :]))


def is_not_seen(text: str, span: Span) -> bool:
    """Whether normalised `text` says that the fault at `span` was not found in the log."""
    return bool(NOT_SEEN.match(text[span[1] :]) and not LACKS.search(text[span[0] : span[1]]))


def _is_denied_alone(text: str, span: Span) -> bool:
    rest = text[span[1] :]
    if text[span[0]] in "没无" and LACK_OF.match(rest):
        return True
    return bool(DENIED_BEFORE.search(text, 0, span[0]) or DENIED_AFTER.match(rest) or TAG.match(rest))


def _merged(spans: Sequence[Span]) -> list[Span]:
    """`spans` in order, with overlapping ones joined."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _list_of(text: str, entries: Sequence[Span], place: int) -> Span:
    """First and last entry of the list that holds entry `place`: "A", "A or B", "A, B, and C".

    Commas alone make no list: "not a deadlock, the disk is full". An "and" or "or" before the last entry makes one.
    """
    first, last = _run(text, entries, place)
    bound = [index for index in range(first, last) if _join(text, entries, index) == "word"]
    return (first, bound[-1] + 1) if bound and place <= bound[-1] + 1 else (place, place)


def _run(text: str, entries: Sequence[Span], place: int) -> Span:
    """First and last entry of the run around `place` that is separated only by commas, "and", "or" and the like."""
    first = last = place
    while first > 0 and _join(text, entries, first - 1):
        first -= 1
    while last < len(entries) - 1 and _join(text, entries, last):
        last += 1
    return first, last


def _join(text: str, entries: Sequence[Span], index: int) -> str | None:
    """How entry `index` and the next are joined: by a "comma", by a "word" (or 、 or /), or not at all."""
    (start, end), (following, stop) = entries[index : index + 2]
    match = JOIN.fullmatch(text, end, following)
    if match is None or not any(match.groups()):
        return None
    word = match["word"]
    is_clause = FINITE.search(text, start, end) or FINITE.search(text, following, stop)
    if is_clause and (word == "and" or not (word or match["pause"])):
        return None  # "the disk is full and the network was ruled out"
    return "word" if word or match["pause"] else "comma"
