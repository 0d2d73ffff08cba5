"""Finds answers that mention what only the teacher was shown: a student that learns them cites what it never sees.

The patterns are wide: a right answer that they reject is sampled again, and one that they miss is learned.
"""

from __future__ import annotations

import re

SEEN_BY_TEACHER = r"""
    \b(?:shown|told)\s+(?:only\s+)?to\s+me\b
    | \bI\s+(?:was|am|have\s+been|'ve\s+been)\s+(?:shown|told)\b(?!\s+\d)
    | \b(?:I\s+(?:was|am|have\s+been)|me)\s+(?:given\s+)?(?:the|a|your)\s+(?:correct\s+)?
      (?:solution|answer|reference|hint)\b
    | \byou\s+(?:showed|told|gave|have\s+shown|have\s+told|have\s+given)\s+me\b
    | \b(?:solution|answer|reference|hint)\s+(?:that\s+)?(?:was\s+)?(?:given|shown|provided)\s+to\s+me\b
    | \bI\s+(?:have\s+seen|saw)\s+(?:the|a|your)\s+(?:correct\s+)?(?:solution|answer|reference|hint)\b
    | \b(?:user|prompt)\s+(?:has\s+|have\s+)?(?:already\s+)?
      (?:provide[ds]?|gave|gives?|given|share[ds]?|show(?:s|ed|n)?|includes?)\s+(?:me\s+|us\s+)?
      (?:the|a)\s+(?:correct\s+|reference\s+|right\s+)?(?:solution|answer)\b
    | \b(?:user|prompt|question|problem|task)\s+(?:says?|states?|tells?|gives?|includes?|shows?)\s+(?:me\s+|us\s+)?
      (?:that\s+)?(?:the|a)\s+(?:correct|reference)\s+(?:solution|answer)\b
    | \b(?:we|I)\s+(?:are|am|were|was|have\s+been)\s+(?:told|given|shown)\s+(?:that\s+)?the\s+
      (?:correct\s+(?:solution|answer)|(?:solution|answer)(?=\s*[.,:;]))
    | \bas\s+(?:if|though)\s+I\s+(?:had\s+)?found\s+it\b
    | (?<!\bfor\s)\byour\s+(?:correct\s+)?(?:reference(?!\s+(?:number|code|id)\b)|hint)\b
    | \bper\s+your\s+(?:solution|answer)\b
    | 只给(?:我|[你您])看 | [你您](?:给(?:出|我)?|给我看|提供|展示|告诉我)的(?:正确)?
      (?:参考(?!文档|手册)|答案|解答|解法|提示(?!信息|符))
    | 如[你您]所(?:示|给) | 我(?:看到|看过|见过)的?(?:正确)?(?:参考(?!文档|手册)|答案|解答|解法|提示(?!信息|符))
    | (?:用户|题目|题中|系统|[你您])(?:已经?|也)?(?:给出|给|提供|告诉|展示)(?:了|过|我)*(?:一个|一份)?
      (?:正确|参考|标准)?的?(?:答案|解答|解法)(?!格式|形式|范围|要求|应|必)
    | (?:被告知|已经?知道)了?正确(?:答案|解答) | 我被告知
"""
REFERENCE = r"""
    \b(?:reference|model|official|sample|gold)\s+(?:solutions?|answer)\b | \b(?:reference|gold)\s+answers\b
    | \b(?:answer|solution)\s+key\b | \bground[\s-]truth\b
    | \b(?:provided|given|shown|supplied)\s+(?:correct\s+)?(?:solution|answer|reference|hint)\b
    | \b(?:solution|answer|reference|hint)\s+(?:that\s+)?(?:\w+\s+)?(?:was|were|is|you)?\s*
      (?:provided|given|shown|supplied|gave|showed)\b(?!\s+(?:by|below|as|in|to)\b)
    | \b(?:given|using|see(?:ing)?|with)\s+the\s+(?:solution|reference|correct\s+(?:solution|answer|reference))\s+
      above\b
    | \b(?:as|per|like|on|following|using|match(?:es|ing)?|according\s+to|look(?:ing|s)?\s+at)\s+the\s+(?:correct\s+)?
      (?:reference|solution|hint)\b(?!\s+(?:to|of|from|for|we|count|is)\b)
    | \b(?:to|in|from|with|by)\s+the\s+(?:correct\s+solution|(?:correct\s+)?(?:reference|hint))\b
      (?!\s+(?:to|of|we|count|is)\b)
    | \b(?:given|shown|stated|described|noted|mentioned|indicated|explained|seen|see|know|agree[sd]?|
      consistent|compar(?:e|ed|ing)|refer(?:s|red|ring)?|line)\s+(?:to|in|from|with|by)\s+the\s+solution\b
    | \b(?:in|from|by)\s+the\s+solution(?:\s+(?:above|provided|given|shown)|,?\s+(?:we|I|it)\s+(?:can\s+)?
      (?:see|know|learn|read|says?|states?|is\s+clear)|\s+that\s+(?:I|you))\b
    | \baccording\s+to\s+the\s+(?:correct\s+)?answer\b
    | \bmatch(?:es|ing)?\s+(?:with\s+)?the\s+(?:correct|expected|known)\s+(?:answer|solution)\b
    | \bre(?:write|writing|phras(?:e|ing)|word(?:ing)?|stat(?:e|ing))\s+(?:of\s+)?the\s+(?:correct\s+)?solution\b
    | \bthe\s+(?:reference|hint|(?:correct\s+)?(?:solution|answer)\s+above|(?:correct\s+)?solution)\s+
      (?:says?|shows?|states?|gives?|indicates?|mentions?|suggests?|tells?|explains?|notes?)\b(?!\s+\d+(?:\.\d+)?\s*%)
    | (?:参考|标准)(?:答案|解答|解法)
    | (?:上述|上面的|上所示的|给出的|提供的|给定的|(?<!未)已知的?|所给的?|看过的?)(?:正确)?
      (?:参考(?!文档|手册)|答案(?!必|应|一定|格式|形式)|解答|解法|提示(?!信息|符|框|语))
    | (?:根据|按照|依据|依照|参照|如|正如|由)
      (?:参考(?!文档|手册)|(?:正确)?(?:答案|解答|解法)|提示(?!信息|符|框|语))
    | (?:参考|解答|解法)(?:中|里|所)?(?:已经?|也)?(?:说|提到|指出|述|给出|显示|写道|表明)
    | 答案(?:中|里)(?:已经?|也)?(?:说|提到|指出|给出|显示|写) | 正确答案(?:已经?|早已)(?:给出|给定|提供|知道)
    | (?<![\u4e00-\u9fff])提示(?:中|里)?(?:说|提到|指出|给出|告诉)
    | [与和同](?:正确|所给|给定的?)?(?:答案|解答)(?:是)?(?:一致|相符|吻合|相同) | 如上(?:面|述)?的?(?:解答|答案)所
    | 从(?:正确)?(?:解答|答案)(?:中|来)?(?:可以?)?(?:看|得知|知道)
"""
TEXTS = r"(?:runbook|playbook|document|documentation|guide|manual|handbook|excerpt)s?"
FILE = rf"""
    \b(?:provided|given|supplied|above)\s+{TEXTS}\b
    | \b{TEXTS}\s+(?:above|(?:I\s+was\s+|you\s+)?(?:provided|given|gave))\b
    | \b(?:according\s+to|per|based\s+on|(?:stated|described|noted|mentioned|listed|shown)\s+in)\s+(?:the|our|your)\s+
      (?:{TEXTS}\b(?!\s+(?:table|collection|index|count)\b)|notes\b)
    | \bthe\s+{TEXTS}\s+
      (?:says?|shows?|states?|indicates?|mentions?|suggests?|tells?|explains?|lists?|recommends?|requires?|advises?)\b
    | \b(?:in|of|per|see|from|follow(?:s|ing)?|refer(?:ring)?\s+to|our|your)\s+(?:(?:the|our|your)\s+)?
      (?:run|play|hand)book\b
    | \b(?:run|play|hand)book(?:'s)?\s+(?:step|section|chapter|page|entry|item|rule|procedure)\b
    | \b(?:provided|supplied|(?<!\bin\sthe\s)given)\s+context\b
    | \bcontext\s+(?:(?:I\s+was\s+|you\s+)?(?:provided|given|gave)|above)\b
    | \b(?:according\s+to|based\s+on)\s+the\s+context\b(?!\s+of\b)
    | \bthe\s+context\s+(?:says?|states?|mentions?|tells?|recommends?)\b
    | \bsystem\s+prompt\b
    | (?<!意)见(?:运维|运行|操作)?手册 | (?:参考|遵循|遵照|依照?|按)(?:运维|运行|操作)?手册
    | (?:根据|按照|依据|依照|参照)(?:上述|上面的|给出的|提供的|所提供的|给定的|所给的?)?
      (?:运维|运行|操作)?(?:手册|文档(?!数|总)|指南|资料|上下文|知识库)
    | (?:手册|文档|指南|资料)(?:中|里)?(?:已经?|也|明确)?(?:说|提到|指出|所述|写道|写明|建议|要求|规定|列出)
"""
EXAMPLES = r"""
    \b(?:previous|earlier|preceding)\s+(?:\w+\s+)?(?:examples?|problems?|questions?)\b
    | \b(?:above|given|provided)\s+(?:\w+\s+)?examples?\b | \bexamples?\s+(?:above|before|given|provided|shown)\b
    | \b(?:like|as\s+in|similar\s+to|from)\s+the\s+
      (?:(?:above|provided)\s+(?:problem|question)s|(?:problem|question)s\s+(?:above|before|provided|shown))\b
    | \b(?:as|like)\s+(?:(?:shown|seen|done)\s+)?in\s+(?:the\s+)?(?:\w+\s+)?examples?\b(?!\s+(?:input|output|log)s?\b)
    | \bfollowing\s+the\s+examples?\b
    | \bsimilar(?:ly)?\s+to\s+example\s+\d
    | \b(?:as|like)\s+(?:we\s+did\s+)?in\s+the\s+last\s+(?:problem|question|example)\b
    | (?:上面|前面|之前|上述|给出|所给)的?(?:几个|几道)?(?:例子|例题|示例)(?!日志|输入|输出|代码|数据)
    | \b(?:similar\s+to|same\s+(?:way\s+)?as)\s+(?:in\s+)?(?:the\s+)?(?:first\s+problem|examples?)\b
    | (?:参照|参考|仿照|按照|根据|类似于?|如同?|同|与|和|像|跟)
      (?:上一?题|前一?题|(?:之前|前面)的(?:题目?|问题)|上例|(?:该|这些)?(?:例题|例子|示例)(?!日志|输入|输出|代码|数据))
"""
BY_CONTEXT = {
    kind: re.compile(f"{SEEN_BY_TEACHER} | {of_kind}", re.IGNORECASE | re.VERBOSE)
    for kind, of_kind in (("reference", REFERENCE), ("file", FILE), ("fewshot", EXAMPLES))
}


def gives_context_away(response: str, context: str) -> bool:
    """Whether an answer mentions what the teacher saw under `context`, a teacher_context of one domain."""
    pattern = BY_CONTEXT.get(context.partition(":")[0])
    return pattern is not None and pattern.search(response) is not None
