"""The engine without a model."""

from distill.engines.scripted import ScriptedEngine
from distill.records import Completion, Request, Sampling


def ask(text: str) -> Completion:
    [(_, outcome)] = ScriptedEngine(lambda request: text, "toy").complete([Request("a#0", "one two", 0, Sampling())])
    assert isinstance(outcome, Completion)
    return outcome


def test_text_is_read_as_a_models_text() -> None:
    assert ask("<think>\nso\n</think>\n\n4") == Completion("so", "4", "stop", 2, 4, "toy")


def test_unclosed_thinking_is_unfinished() -> None:
    outcome = ask("<think> so")
    assert outcome.unfinished and (outcome.reasoning, outcome.answer, outcome.finish) == ("so", "", "length")


def test_the_script_sees_each_request_in_order() -> None:
    engine = ScriptedEngine(lambda request: f"{request.id} {request.seed}")
    requests = [Request(f"{at}", "", at, Sampling()) for at in range(3)]
    answers = [outcome.answer for _, outcome in engine.complete(iter(requests)) if isinstance(outcome, Completion)]
    assert answers == ["0 0", "1 1", "2 2"]
