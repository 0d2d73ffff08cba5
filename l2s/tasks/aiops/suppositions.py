"""What an answer only supposes: "if DNS had failed, lookups would time out", "如果磁盘已满，写入会失败"."""

from __future__ import annotations

import re

from l2s.tasks.aiops.denials import Span

SENTENCE_END = re.compile(r"[;!?。\n]|\.(?=\s|$)")
EN_SHORT = r"(?:any|anything|so|not|needed|necessary|possible|required|applicable)\b"  # "if needed" supposes no fault
EN_BELIEF = r"(?:i|we|my|the logs?)\b[^,.;]*\b(?:right|correct|correctly)\b"  # "if I read this right" neither
EN_CLAUSE = r"(?:^\s*|[,:(-]\s*|\b(?:and|but|so|because|that|even|only)\s+)"
EN_OPENS = re.compile(
    rf"{EN_CLAUSE}(?:if|unless|supposing|suppose|assuming|in case)\s+(?!{EN_SHORT}|{EN_BELIEF})"
    rf"|^\s*(?P<inverted>had|were)\s+(?=\w|$)|^\s*should\s+(?=(?:the|an?|any|there)\b|$)|(?P<inside>\bif)\s+(?!{EN_SHORT}|{EN_BELIEF})"
)
EN_WOULD = re.compile(r"\b(?:would|should|could|might)\b|(?<=[a-z])'d\b")
EN_MIGHT = re.compile(r"\b(?:would|could|might)\b|(?<=[a-z])'d\b")  # "you should check if ..." supposes nothing
EN_WOULD_BE = re.compile(r"\bwould(?:\s+(?:not|only|then))*\s+(?:have\s+been|be|have)\b[^,]*$")
EN_TURN = re.compile(r"\b(?:but|however|yet|therefore|so|instead|though|although|while|whereas|because)\b")
EN_THEN = re.compile(r",|\bthen\b")

ZH_OPENS = re.compile(
    r"(?:如果|假如|假设|假若|倘若|倘使|若是|要是|万一|一旦|除非|即使|就算|哪怕|(?<![\u3400-\u9fff])[但而]?若(?!干))"
    r"(?!我?没有?(?:看|猜|判断|理解)?错)"
)
ZH_WOULD = re.compile(r"会|应该|应当|本应|理应|将")
ZH_TURN = re.compile(r"但|而|不过|然而|所以|因此|实际|可是|却|故(?!障)")


def is_supposed(text: str, span: Span) -> bool:
    """Whether normalised `text` names what stands at `span` only in a condition, or in what would follow from one.

    A condition ends with its clause, its consequence at "but" and the like: "if DNS had failed, ..., but the disk is
    full" says that the disk is full.
    """
    start = max((end.end() for end in SENTENCE_END.finditer(text, 0, span[0])), default=0)
    stop = SENTENCE_END.search(text, span[1])
    before, said = text[start : span[0]], text[span[0] : span[1]]
    after = text[span[1] : stop.start() if stop else len(text)]
    return _is_supposed_in_english(before, said, after) or _is_supposed_in_chinese(before, said)


def _is_supposed_in_english(before: str, said: str, after: str) -> bool:
    if EN_WOULD_BE.search(before) and re.search(r"\bif\b", said + after):
        return True
    for opening in EN_OPENS.finditer(before):
        since = before[opening.end() :]
        if EN_TURN.search(since):
            continue
        if opening["inverted"] and not EN_WOULD.search(since + said + after):
            continue  # "had a full disk", of the host
        if opening["inside"] and not EN_MIGHT.search(before[: opening.start()]):
            continue  # "writes fail if the disk is full" may well state the cause
        if EN_WOULD.search(since + said) or not EN_THEN.search(since):
            return True
    return False


def _is_supposed_in_chinese(before: str, said: str) -> bool:
    for opening in ZH_OPENS.finditer(before):
        _, comma, consequence = before[opening.end() :].partition(",")
        if not comma or (ZH_WOULD.search(consequence + said) and not ZH_TURN.search(consequence)):
            return True
    return False
