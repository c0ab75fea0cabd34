"""Teachers solve: take problems, give traces. `connect` makes the teacher that a recipe's section asks for.

A replay teacher brings its own problems and is not asked: its traces come from `teachers.replay.Replay`.
"""

from distill.records import Teacher, Verifier
from distill.sections import EndpointTeacher, LocalTeacher, ReplayTeacher, ScriptedTeacher


def connect(
    section: EndpointTeacher | LocalTeacher | ScriptedTeacher | ReplayTeacher, verifier: Verifier | None
) -> Teacher:
    """The teacher of a section. `verifier` is needed where `keep_per_problem` is set.

    Raises InputError for a key that is not in the environment or a model that is none, and ValueError for a replay
    section or a verifier that is needed and missing.
    """
    from teachers.sampling import LiveTeacher

    match section:
        case EndpointTeacher() | LocalTeacher():
            from distill.engines import connect as engine_of

            return LiveTeacher(engine_of(section), section, section.model, verifier)
        case ScriptedTeacher():
            from teachers.scripted import DryTeacher

            return DryTeacher(section, verifier)
        case ReplayTeacher():
            raise ValueError("a replay teacher is not asked: its traces come from teachers.replay.Replay")
