"""What can go wrong, and the exit code that each kind of it ends with.

DistillError                 3  a stage failed
├── InputError               2  the recipe or its input is wrong: nothing was done
│   └── RecipeError          2  the recipe itself
├── EngineError              3  an engine cannot go on (bad key, unknown model, no server)
│   ├── Refused              3  the server takes nobody's request, and bills none
│   └── MissingReasoning     3  a reasoning teacher sent no reasoning
├── ShardError               3  a shard or manifest on disk cannot be read
├── Interrupted            130  Ctrl-C, after what was in flight has come in
└── GateClosed               1  the gate did not pass, so nothing was released
"""


class DistillError(Exception):
    """The base of every error that is told in one sentence instead of a traceback."""

    exit_code = 3


class InputError(DistillError, ValueError):
    """The recipe or what it points at is wrong; the message says where and what to write instead."""

    exit_code = 2


class RecipeError(InputError):
    """A key, a value or a combination in the recipe cannot be."""


class EngineError(DistillError, RuntimeError):
    """The engine cannot go on, whatever is asked of it: raised, never recorded as one trace's failure."""


class Refused(EngineError):
    """The server takes no request of ours (a bad key, an unknown model, no money left, no server): none is billed."""


class MissingReasoning(EngineError):
    """A reasoning teacher answered without its reasoning; the message names the fields that it sent."""


class ShardError(DistillError, RuntimeError):
    """A part or a manifest cannot be read, or was written by another version of the records."""


class GateClosed(DistillError):
    """At least one check did not pass."""

    exit_code = 1


class Interrupted(DistillError):
    """Stopped by the user; the message says how to go on."""

    exit_code = 130
