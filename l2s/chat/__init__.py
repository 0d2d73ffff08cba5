"""The only user of a chat template: messages and answers become tokens the same way in every stage.

Teacher and student each get their own template; the tokens of an answer are the same for both.
"""

from __future__ import annotations

from l2s.chat.load import Renderers, check_same_vocabulary, load_renderer, load_renderers, load_student_renderer
from l2s.chat.renderer import ChatRenderer, Rendered

__all__ = [
    "ChatRenderer",
    "Rendered",
    "Renderers",
    "check_same_vocabulary",
    "load_renderer",
    "load_renderers",
    "load_student_renderer",
]
