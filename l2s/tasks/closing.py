"""Removes what an answer says to its reader beside the result: offers, questions, confidence, counts of its steps.

Numbers in there are no answer: "It is 18. Let me know if you have 2 more questions (I am 95% sure)". People in word
problems speak of steps, questions and help too, so each phrase must speak of the answer itself, or to "you".
"""

from __future__ import annotations

import re

NUMBER = r"\d[\d.,]{0,20}"
SHARE = rf"{NUMBER}(?: ?%| percent|/10+\b| out of 10+\b)"
METHODS = r"(?:\w+ )?(?:steps?|ways?|methods?|approaches|equations?|operations?|calculations?|formulas?|checks?)\b"
HELP = r"(?:help|explain|assist|answer|show|walk|provide|clarify)"
CHECKED = (
    r"(?:re-?|double-?)?(?:checked|verified|confirmed|tested|calculated|computed|solved|derived|explained|validated)"
)

# Each begins a sentence or a clause.
OFFERS = (
    r"let (?:me|us) know\b",
    r"feel free\b",
    r"(?:do not|don'?t) hesitate\b",
    r"(?:(?:would|will|am|are|be|always|more than|'d|'ll|'m) ?)*(?:happy|glad|ready) to " + HELP,
    r"(?:can|could|may|will|'ll) (?:also |gladly )?"
    + HELP
    + r" (?:you|with|it|this|that|the|any|more|another|\d+ more)\b",
    r"hope (?:this|that|it|these|my \w+|the \w+)(?: \w+)? (?:helps?|helped|is|was|are|makes|clari\w+|answers)\b",
    r"(?:thanks\b(?! to\b)|thank you|good luck|have (?:a|an) (?:nice|good|great)|see you|you(?:'re| are) welcome)",
    r"(?:ask me|reach out|rate (?:this|my))\b",
    rf"(?:know|have|there are) {NUMBER} (?:other |more |different |similar )+(?:ways|methods|examples|tips)\b",
    r"(?:if|should|in case|whenever) you [^.!?,\n]{0,60}\b(?:questions?|help|doubts?|clari\w+|expla\w+|problems?"
    r"|exercises?|examples?|details?|hints?|stuck|unsure|confused|practi[cs]e)\b"
    r"(?=[^.!?,\n]*(?:[.!?\n]|$|, *(?:please|just|let|feel|ask|i\b|we\b|don'?t|do not|reach|say|tell|write)))",
    r"(?:如果|若|要是)[您你]?(?:还|仍)?(?:有|需要|想|不)[^，,。！？\n]{0,12}(?:问题|疑问|帮助|解释|了解|练习|懂|明白)"
    r"(?=[^，,。！？\n]*(?:[。！？\n]|$|[，,](?:请|可以|欢迎|随时|就|尽管|告诉)))",
    r"希望[^。！？\n]{0,20}(?:帮|有用|清楚|明白|理解)",
    r"(?:请?随时|欢迎|请(?:告诉|问|联系|让)我|谢谢|感谢|祝[您你]|有(?:任何|其他|什么|别的)(?:问题|疑问))",
    r"我(?:还|也)?(?:可以|能)再?(?:为|帮|给)[您你]",
)
# A question to the reader, not one of the problem.
QUESTIONS = (
    r"(?:shall|should|can|could|may) (?:i|we)\b",
    r"(?:would|do|did|does|can|could|want|need|is|are|any|what|which|how)\b(?=[^.!?\n]{0,80}\b(?:your|me"
    r"|you (?:like|want|need|understand|follow|agree|prefer|see|think)|questions?|help|explain|clari\w+|explanations?"
    r"|sense|clear|anything|else|another)\b)",
    r"(?:[您你](?:还|是否|想|需要|要不要)|需要我|要我|是否)",
)
# Anywhere.
REMARKS = (
    # confidence
    rf"\b(?:confidence|certainty)(?: (?:level|score|rating))?(?: (?:is|of))? ?[:=(]? ?(?:{SHARE}|{NUMBER})",
    rf"\b{SHARE} (?:\w+ )?(?:sure|certain|confident|confidence|certainty)\b",
    rf"(?:置信度|可信度|把握|信心)(?:为|是|有|约|：|:| )*{NUMBER}(?:%|成|分)?",
    rf"{NUMBER}(?:%|成|分)(?:的)?(?:置信|把握|信心|确定|肯定)",
    # the way to the answer
    rf"\b(?:i|we) (?:\w+ )?(?:used|needed|showed|wrote|applied|followed) {NUMBER} {METHODS}",
    r"\b(?:the|this|my|our) (?:solution|working|calculation|method|explanation|reasoning|derivation|answer) (?:\w+ )?"
    rf"(?:uses|used|takes|took|needs|needed|has|had|requires|required|involves|consists of) {NUMBER} {METHODS}",
    rf"\b{CHECKED}(?: (?:it|this|that|here|above|my \w+|the \w+))? (?:in|with|by|using|via) {NUMBER} {METHODS}",
    rf"(?:\b(?:i|we)(?: have|'ve)?|[.!?(。\n]) ?{CHECKED}(?: (?:it|this|that|my \w+|the \w+))? {NUMBER} times\b",
    rf"[,(] ?in (?:only |just )?{NUMBER} (?:easy |simple |short )?steps\b",
    r"\b(?:see|explain|review|repeat|check|from|by|using|per|(?:shown|done|found|computed|calculated|as) in) (?:the )?"
    rf"(?:steps?|equations?|eq\.?|formulas?|methods?|sections?|figures?|footnotes?) \(?{NUMBER}\)?",
    rf"thought for {NUMBER} \w+",
    rf"(?:本题|此题|解答|解题|计算|推理|以上)(?:过程)?[一总]?共?(?:用了?|分为?|经过|需要?|有){NUMBER}(?:个|种)?(?:步骤?|方法|算式)",
    rf"(?:我们?)(?:一共|总共|共)?用了{NUMBER}(?:个|种)?(?:步骤?|方法|算式|等式)|(?:检查|验算|核对|验证)了?{NUMBER}[遍次]",
    rf"(?:见|看|由|根据|如)(?:上面|上述|前面)?(?:第{NUMBER}步|步骤{NUMBER}|式{NUMBER})",
)  # fmt: skip

BEGINNING = r"(?:^|(?<=[.!?。！？,，;；:：(（\n])|(?<=[ ]-[ ]))[ \t>*_#-]{0,10}+"
LEAD_IN = r"(?:(?:and|but|so|also|please|just|if so|otherwise|anyway|by the way|always|really|i|we)\b[, ]*){0,3}"
# The rest of a sentence: "2.5" does not end it, a colon does, for a result may follow.
REST = r"(?:[^.!?:。！？：\n]|\.(?=\w)){0,400}"
FLAGS = re.IGNORECASE | re.MULTILINE
PATTERNS = (
    re.compile(f"{BEGINNING}{LEAD_IN}(?:{'|'.join(OFFERS)}){REST}", FLAGS),
    re.compile(f"{BEGINNING}{LEAD_IN}(?:{'|'.join(QUESTIONS)}){REST}[?？]", FLAGS),
    re.compile("|".join(REMARKS), FLAGS),
)


def without_closing(text: str) -> str:
    """`text` without what speaks to its reader; that stays where it holds an equation, or the only numbers."""
    for pattern in PATTERNS:
        left = pattern.sub(lambda found: found.group() if "=" in found.group() else " ", text)
        text = left if re.search(r"\d", left) else text
    return text
