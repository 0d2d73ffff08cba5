"""Questions, instructions and reference answers in English and Chinese."""

from __future__ import annotations

from l2s.tasks.aiops.records import Language, Phrases, Split, say
from l2s.tasks.aiops.scoring import FORM, MAX_WORDS

QUESTIONS: dict[Language, dict[Split, tuple[str, ...]]] = {
    "en": {
        "train": (
            "Below is the {title}. What is the root cause of the trouble, if there is any?",
            "You are on call. Analyse this {title} and find out what is wrong.",
            "Users complain. Read the {title} and explain what happened.",
            "Here is the {title} of the last minutes. Diagnose it.",
            "An alert fired. Use the {title} to tell what broke, or that nothing did.",
            "Please do a root cause analysis of the following {title}.",
        ),
        "eval": (
            "A colleague forwards you the {title} and asks whether something failed and why. What do you reply?",
            "Study the {title} for the incident review: was there an incident, and what started it?",
            "Monitoring shows a dip. Judge from this {title} what lies behind it.",
        ),
    },
    "zh": {
        "train": (
            "下面是{title}。如果存在故障，根因是什么？",
            "你正在值班，请分析这段{title}，找出问题所在。",
            "有用户投诉。请阅读{title}并说明发生了什么。",
            "这是最近几分钟的{title}，请给出诊断。",
            "告警已触发。请根据{title}判断哪里出了故障，或者并无故障。",
            "请对以下{title}做根因分析。",
        ),
        "eval": (
            "同事转来{title}，询问是否有东西失效以及原因。你会怎样回复？",
            "为事故复盘研读这段{title}：是否发生了事故，起因是什么？",
            "监控曲线出现下跌。请依据这段{title}判断背后的原因。",
        ),
    },
}

INSTRUCTIONS: dict[Language, str] = {
    "en": (
        "Name the root cause, the component at fault, the evidence in the log and the remedy. If nothing is at fault, "
        'say "no fault" and name the harmless warnings. Finish with one line of this form:\n'
        f"Answer: {FORM['en']}\n"
        f'Use your own words. Only the first {MAX_WORDS} words after "Answer:" are read.'
    ),
    "zh": (
        "请指出根因、故障组件、日志中的证据和处置办法；如果没有故障，请写“没有故障”并指出哪些告警无害。"
        f"最后用一行按如下格式作答：\n答案：{FORM['zh']}\n"
        f"请用自己的话表述。只读取“答案：”之后的前 {2 * MAX_WORDS} 个字。"
    ),
}

NO_ACTION = say(
    "no action is needed|no action|nothing to do|nothing needs to be done|no intervention|no fix|no remedy|no "
    "remediation|"
    "no change is needed|just monitor|keep monitoring|continue monitoring|nothing to [fix/change/repair/remedy]|no "
    "[action/change/fix/repair/intervention/remedy] [required/needed/necessary]|[leave/keep] [it/as is/as it is]|none "
    "[needed/required/necessary]|no need to [act/do anything/intervene]",
    "无需处理|无需任何处理|不需要处理|无需操作|无需采取措施|无需干预|不用处理|继续观察|持续观察|继续监控|保持监控|"
    "[无需/不需要/不用/不必/无须][处置/修复/处理/动作/操作/干预/行动/变更/改动/动手/措施]|不用管|照常观察|保持现状",
)


def prompt(question: str, log: str, language: Language) -> str:
    """The user's message of one item."""
    return f"{question}\n\n```\n{log}\n```\n\n{INSTRUCTIONS[language]}"


def fault_answer(
    cause: Phrases, component: Phrases, evidence: tuple[Phrases, ...], remediation: Phrases, language: Language
) -> str:
    """The reference answer to a log with a fault."""
    seen = ("; " if language == "en" else "；").join(phrases.preferred(language) for phrases in evidence)
    if language == "en":
        return (
            f"Root cause: {cause.preferred('en')}. Component: {component.preferred('en')}. Evidence: {seen}. "
            f"Remedy: {remediation.preferred('en')}."
        )
    return (
        f"根因：{cause.preferred('zh')}。组件：{component.preferred('zh')}。证据：{seen}。"
        f"处置：{remediation.preferred('zh')}。"
    )


def healthy_answer(harmless: tuple[Phrases, ...], language: Language) -> str:
    """The reference answer to a log without a fault."""
    if language == "en":
        named = " and ".join(phrases.preferred("en") for phrases in harmless)
        return f"There is no fault. Harmless: {named}. Remedy: no action is needed."
    named = "和".join(phrases.preferred("zh") for phrases in harmless)
    return f"没有故障。无害的告警：{named}。处置：无需处理。"
