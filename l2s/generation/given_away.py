"""Finds answers that mention what only the teacher was shown: a student that learns them cites what it never sees.

The patterns are wide: a right answer that they reject is sampled again, and one that they miss is learned.
"""

from __future__ import annotations

import re

SEEN_BY_TEACHER = r"""
    \b(?:shown|told)\s+(?:only\s+)?to\s+me\b
    | \bI\s+(?:was|am|have\s+been|'ve\s+been)\s+(?:shown|told)\b
    | \b(?:I\s+(?:was|am|have\s+been)|me)\s+(?:given\s+)?(?:the|a|your)\s+(?:correct\s+)?
      (?:solution|answer|reference|hint)\b
    | \byou\s+(?:showed|told|gave|have\s+shown|have\s+told|have\s+given)\s+me\b
    | \b(?:solution|answer|reference|hint)\s+(?:that\s+)?(?:was\s+)?(?:given|shown|provided)\s+to\s+me\b
    | \bI\s+(?:have\s+seen|saw)\s+(?:the|a|your)\s+(?:correct\s+)?(?:solution|answer|reference|hint)\b
    | (?<!\bfor\s)\byour\s+(?:correct\s+)?(?:reference(?!\s+(?:number|code|id)\b)|hint)\b
    | \bper\s+your\s+(?:solution|answer)\b
    | 只给(?:我|[你您])看 | [你您](?:给(?:出|我)?|给我看|提供|展示|告诉我)的(?:正确)?
      (?:参考(?!文档|手册)|答案|解答|解法|提示(?!信息|符))
    | 如[你您]所(?:示|给) | 我(?:看到|看过|见过)的?(?:正确)?(?:参考(?!文档|手册)|答案|解答|解法|提示(?!信息|符))
"""
REFERENCE = r"""
    \b(?:reference|model|official|sample|gold)\s+(?:solution|answer)s?\b
    | \b(?:answer|solution)\s+key\b | \bground[\s-]truth\b
    | \b(?:provided|given|shown|supplied)\s+(?:correct\s+)?(?:solution|answer|reference|hint)\b
    | \b(?:solution|answer|reference|hint)\s+(?:that\s+)?(?:\w+\s+)?(?:was|were|is|you)?\s*
      (?:provided|given|shown|supplied|gave|showed)\b(?!\s+(?:by|below|as|in|to)\b)
    | \b(?:given|using|see(?:ing)?|with)\s+the\s+(?:correct\s+)?(?:solution|answer|reference)\s+above\b
    | \b(?:as|per|to|in|from|with|by|like|on|following|using|match(?:es|ing)?)\s+the\s+(?:correct\s+)?
      (?:reference|solution|hint)\b(?!\s+(?:to|of|we|count|is)\b)
    | \bthe\s+(?:reference|hint|(?:correct\s+)?solution)\s+
      (?:says?|shows?|states?|gives?|indicates?|mentions?|suggests?|tells?|explains?|notes?)\b
    | (?:参考|标准)(?:答案|解答|解法)
    | (?:上述|上面的|上所示的|给出的|提供的|给定的|已知的?|所给的?|看过的?)(?:正确)?
      (?:参考(?!文档|手册)|答案|解答|解法|提示(?!信息|符))
    | (?:根据|按照|依据|依照|参照|如|正如|由)
      (?:参考(?!文档|手册)|(?:正确)?(?:答案|解答|解法)|提示(?!信息|符))
    | (?:参考|解答|解法)(?:中|里|所)?(?:说|提到|指出|述|给出|显示|写道)
"""
TEXTS = r"(?:runbook|playbook|document|documentation|guide|manual|handbook|context|excerpt)s?"
FILE = rf"""
    \b(?:provided|given|supplied|above)\s+{TEXTS}\b
    | \b{TEXTS}\s+(?:above|(?:I\s+was\s+|you\s+)?(?:provided|given|gave))\b
    | \b(?:according\s+to|per|based\s+on|(?:stated|described|noted|mentioned|listed|shown)\s+in)\s+the\s+{TEXTS}\b
    | \bthe\s+{TEXTS}\s+
      (?:says?|shows?|states?|indicates?|mentions?|suggests?|tells?|explains?|lists?|recommends?|requires?|advises?)\b
    | \b(?:in|of|per|see|from|follow(?:s|ing)?|refer(?:ring)?\s+to|our|your)\s+(?:(?:the|our|your)\s+)?
      (?:run|play|hand)book\b
    | 参见(?:运维|运行|操作)?手册
    | (?:根据|按照|依据|依照|参照)(?:上述|上面的|给出的|提供的|给定的|所给的?)?
      (?:运维|运行|操作)?(?:手册|文档|指南|资料|上下文)
    | (?:手册|文档|指南|资料)(?:中|里)?(?:说|提到|指出|所述|写道|建议|要求)
"""
EXAMPLES = r"""
    \b(?:previous|earlier|preceding|above|given|provided)\s+(?:\w+\s+)?(?:examples?|problems?|questions?)\b
    | \b(?:examples?|problems?)\s+(?:above|before|given|provided|shown)\b
    | \b(?:as|like)\s+in\s+the\s+(?:\w+\s+)?examples?\b | \bfollowing\s+the\s+examples?\b
    | (?:上面|前面|之前|上述|给出|所给)的?(?:几个|几道)?(?:例子|例题|示例)
    | \b(?:similar\s+to|same\s+(?:way\s+)?as)\s+(?:in\s+)?(?:the\s+)?(?:first\s+problem|examples?)\b
    | (?:参照|仿照|类似于?|如同?|同|与)(?:上一?题|前一?题|之前的(?:题|问题)|上例|(?:该|这些)?(?:例题|示例))
"""
BY_CONTEXT = {
    kind: re.compile(f"{SEEN_BY_TEACHER} | {of_kind}", re.IGNORECASE | re.VERBOSE)
    for kind, of_kind in (("reference", REFERENCE), ("file", FILE), ("fewshot", EXAMPLES))
}


def gives_context_away(response: str, context: str) -> bool:
    """Whether an answer mentions what the teacher saw under `context`, a teacher_context of one domain."""
    pattern = BY_CONTEXT.get(context.partition(":")[0])
    return pattern is not None and pattern.search(response) is not None
