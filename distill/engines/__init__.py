"""Prompts in, completions out: takes a teacher's section of the recipe, gives the engine that it asks for.

Every engine is a `records.Engine`. Each is imported only when it is asked for: an endpoint never loads torch.
"""

from distill.engines.capture import Capture
from distill.recipe import api_key
from distill.records import Engine, Watch
from distill.teacher_sections import EndpointTeacher, LocalTeacher


def connect(
    section: EndpointTeacher | LocalTeacher,
    watch: Watch | None = None,
    *,
    reasons: bool = True,
    capture: Capture | None = None,
) -> Engine:
    """The engine of a section; raises InputError for a key that is not in the environment or a model that is none.

    `reasons` says that the model must reason: an answer without reasoning is an error then, and a local model's
    thinking is opened for it. A judge, say, need not. `capture` takes the model's distributions at what it draws.
    """
    match section:
        case EndpointTeacher():
            from distill.engines.endpoint import EndpointEngine

            return EndpointEngine(section, api_key(section.api_key_env), watch=watch, reasons=reasons, capture=capture)
        case LocalTeacher():
            from distill.engines.local import load_teacher

            engine = load_teacher(section, reasons=reasons)
            engine.capture = capture
            return engine
