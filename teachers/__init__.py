"""Teachers solve: take problems, give traces. `connect` makes the teacher that a recipe's section asks for;
`teachers.stage` carries a whole stage, from problems on disk to traces on disk.

A replay teacher brings its own problems and is not asked: its traces come from `teachers.replay.Replay`.
"""

from collections.abc import Callable

from distill.engines.capture import Capture
from distill.records import Verifier, Watch
from distill.teacher_sections import EndpointTeacher, LocalTeacher, ReplayTeacher, ScriptedTeacher
from teachers.budget import Purse
from teachers.sampling import LiveTeacher


def connect(
    section: EndpointTeacher | LocalTeacher | ScriptedTeacher | ReplayTeacher,
    verifier: Verifier | None,
    *,
    purse: Purse | None = None,
    capture: Capture | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> LiveTeacher:
    """The teacher of a section. `verifier` is needed where `keep_per_problem` is set; `say` is told what people should
    know while it is asked; `capture` takes its distributions at what it draws.

    Raises InputError for a key that is not in the environment or a model that is none, and ValueError for a replay
    section or a verifier that is needed and missing.
    """
    purse = purse or Purse(section.budget if isinstance(section, EndpointTeacher) else None)
    match section:
        case EndpointTeacher() | LocalTeacher():
            from distill.engines import connect as engine_of

            engine = engine_of(section, Watch(say, purse.may_retry), capture=capture)
            together = isinstance(section, LocalTeacher)
            return LiveTeacher(engine, section, section.model, verifier, purse=purse, together=together)
        case ScriptedTeacher():
            from teachers.scripted import DryTeacher

            return DryTeacher(section, verifier, purse)
        case ReplayTeacher():
            raise ValueError("a replay teacher is not asked: its traces come from teachers.replay.Replay")
