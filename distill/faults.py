"""What is wrong with a recipe's key, in a sentence: pydantic's faults in, what to write instead out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_SHOWN = 60
"""Letters of a value that is shown."""

_KINDS = {"dataset", "reasoning_gym", "endpoint", "local", "replay", "scripted"}
"""What pydantic puts into a place to say which kind of section it is; no key of a recipe."""


def told(faults: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each fault: its key, what is wrong, and what to write.

    Takes what `ValidationError.errors` gives. What only follows from another fault (a list that is too short without
    its bad entry) is left out.
    """
    places = [tuple(fault["loc"]) for fault in faults]
    return [
        f"{_place(place)}{sentence(fault)}"
        for place, fault in zip(places, faults, strict=True)
        if not any(other[: len(place)] == place and len(other) > len(place) for other in places)
    ]


def sentence(fault: Mapping[str, Any]) -> str:
    """What is wrong with one value, and what to write instead."""
    kind, value, facts = str(fault["type"]), fault["input"], fault.get("ctx", {})
    if kind == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    if "[key]" in fault["loc"] or kind == "invalid_key":
        return f"{shown(value)} is no key here; write {facts.get('expected', 'a word')}"
    found = _SENTENCES.get(kind)
    return found(value, facts) if found is not None else f"{fault['msg']} (it is {shown(value)})"


def shown(value: Any) -> str:
    """A value as YAML has it, a long one cut."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


def _place(location: Sequence[int | str]) -> str:
    keys = [str(part) for part in location if part not in _KINDS and part != "[key]"]
    return f"{'.'.join(keys)}: " if keys else ""


def _text(value: Any, facts: Mapping[str, Any]) -> str:
    scalar = isinstance(value, int | float)
    return f"{shown(value)} is no text" + (f"; write it in quotes, '{shown(value)}'" if scalar else "; write a text")


def _whole(value: Any, facts: Mapping[str, Any]) -> str:
    return f"{shown(value)} is no whole number; write one, such as 4"


def _number(value: Any, facts: Mapping[str, Any]) -> str:
    return f"{shown(value)} is no number; write one, such as 0.5"


def _truth(value: Any, facts: Mapping[str, Any]) -> str:
    return f"{shown(value)} is neither true nor false; write one of the two"


def _list(value: Any, facts: Mapping[str, Any]) -> str:
    return f"{shown(value)} is no list; write one, such as [{value if isinstance(value, str) else 'first, second'}]"


def _section(value: Any, facts: Mapping[str, Any]) -> str:
    return f"{shown(value)} has no keys; write them with their values, such as {{key: value}}"


def _short(value: Any, facts: Mapping[str, Any]) -> str:
    least = facts.get("min_length", 1)
    if isinstance(value, str):
        return f"{shown(value)} is too short; write {least} letters or more, or take it out"
    return f"it names {len(value)}; write at least {least}"


def _most(value: Any, facts: Mapping[str, Any]) -> str:
    percent = isinstance(value, int | float) and facts["le"] == 1 and 5 <= value <= 100
    hint = f", {value / 100:g} for {value:g} %" if percent else ""
    return f"write a number of at most {facts['le']:g}{hint} (it is {shown(value)})"


def _bound(words: str, name: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda value, facts: f"write a number {words} {facts[name]:g} (it is {shown(value)})"


def _one_of(value: Any, facts: Mapping[str, Any]) -> str:
    return f"{shown(value)} is not known; write {facts['expected']}"


def _kind(value: Any, facts: Mapping[str, Any]) -> str:
    return f"kind: {facts['tag']} is not known; write one of {facts['expected_tags']}"


_SENTENCES: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "extra_forbidden": lambda value, facts: (
        "there is no such key; `distill show RECIPE --explain` lists those that are"
    ),
    "missing": lambda value, facts: "this key is missing; add it",
    "union_tag_not_found": lambda value, facts: "the key kind is missing, which says what it is",
    "union_tag_invalid": _kind,
    "literal_error": _one_of,
    "less_than_equal": _most,
    "less_than": _bound("below", "lt"),
    "greater_than_equal": _bound("of at least", "ge"),
    "greater_than": _bound("above", "gt"),
    "finite_number": lambda value, facts: f"{shown(value)} has no end; write a number",
    "too_short": _short,
    "string_too_short": _short,
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _whole),
    **dict.fromkeys(("float_type", "float_parsing"), _number),
    **dict.fromkeys(("bool_type", "bool_parsing"), _truth),
    **dict.fromkeys(("tuple_type", "list_type"), _list),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), _section),
    "string_type": _text,
}
