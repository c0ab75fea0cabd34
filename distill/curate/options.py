"""Answers that pick an option: a letter, or a number where the options are numbered; strings alone, in linear time.

`(B)`, `B`, `b.`, `B) text`, `Option B` and the option's own words are the same. Without a box the last conclusion
counts ("the answer is (B)", "(B) is correct", "so it is B"), or a line that holds nothing but an option, or the only
option that is named at all; several options without a conclusion are no answer. An article is no letter: "A good
answer is (C)" says C.

For `rule: lineage` (lineage-bench's puzzles) `Problem.answer` is the right option's number, the options are the
numbered lines of the prompt, and the answer stands in `<ANSWER>3</ANSWER>`, behind `ANSWER:`, or as in any choice.
"""

import re
from dataclasses import dataclass

from distill.curate import words
from distill.curate.final import Final
from distill.records import Judgement, Problem

_LETTER_LINE = re.compile(r"^[ \t]*[-*]?[ \t]*(?:\(([A-Z])\)|([A-Z])[).:])[ \t]+(\S[^\n]*)", re.MULTILINE)
_NUMBER_LINE = re.compile(r"^[ \t]*[-*]?[ \t]*(?:\(([0-9]{1,2})\)|([0-9]{1,2})[).:])[ \t]+(\S[^\n]*)", re.MULTILINE)
_INLINE = re.compile(r"\(([A-Z])\)")
_LETTER = re.compile(r"\(([A-Za-z])\)|\[([A-Z])\]|(?<![A-Za-z0-9'’.(\[\\])([A-Z])(?![A-Za-z0-9'’])")
_NUMBER = re.compile(r"\(([0-9]{1,2})\)|\[([0-9]{1,2})\]|(?<![A-Za-z0-9.,(\[])([0-9]{1,2})(?![A-Za-z0-9]|[.,][0-9])")
_LONGEST = 5_000  # characters from the end; a conclusion stands no farther
_WINDOW = 70  # characters before and behind a label in which its sentence is read

_KIND = r"(?:(?:the|an?) )?(?:(?:correct|right|final|best) )?(?:option|choice|letter|number|answer)?[ :]{0,2}[(\[\"']?"
_HENCE = r"(?:[, ]{1,2}(?:therefore|thus|hence|clearly|indeed|definitely|then))?[, ]{0,2}"
_BEFORE = re.compile(
    r"(?:\banswer\b[^.\n]{0,40}?(?:\bis|\bbe|[:=–-])"
    r"|\b(?:correct|right|best|final) (?:one|option|choice)(?: is| must be|:)|\bcorrect:"
    r"|\b(?:so|thus|hence|therefore|then|and)[, ]{1,2}(?:it|this|that)(?: is|'s| must be| can only be| has to be)"
    r"|\b(?:so|thus|hence|therefore)[,:]?|\b(?:must be|leaves|leaving|choose|pick|select|go with|corresponds to"
    r"|matches|which is|conclude))" + rf"{_HENCE}{_KIND}$",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"[)\].:\"']{0,2}(?:(?! is | are | not )[^.;()\n]){0,60} (?:is|are)(?: therefore| thus| clearly| indeed)?"
    r"(?: the)?(?: only)? (?:correct|right|best|answer)\b"
)
_DENIED = re.compile(
    r"(?:\b(?:not|neither|nor|never|cannot|except|than|exclude[sd]?|eliminate[sd]?|rules? out|ruled out)|n't)"
    rf" ?(?:be )?{_KIND}$",
    re.IGNORECASE,
)
_OUT = re.compile(
    r"[)\].:]{0,2} ?(?:is|was|would be|looks|seems)(?: not|n't| clearly)? ?"
    r"(?:out\b|wrong|incorrect|false|impossible|not)"
)
_ANOTHER = re.compile(
    r"[)\]\"']?(?: ?, ?| ?/ ?| ?& ?)?(?:(?: or| and)? )?(?:option |choice )?(?:\([A-Z0-9]{1,2}\)|[A-Z0-9]{1,2})"
    r"(?= ?(?:$|[.,;:!)]))"
)
_ARTICLE = re.compile(r" (?!because|since|as |for |which|is |with|by |based|and |or |here|in |due)[a-z]")
_PREFIX = re.compile(
    r"(?:the )?(?:(?:correct|final|right|best) )?(?:(?:answer|option|choice)(?: is)?)?:? ?", re.IGNORECASE
)
_HEAD = re.compile(r"\(([A-Za-z]|[0-9]{1,2})\)|\[([A-Za-z]|[0-9]{1,2})\]|([A-Za-z]|[0-9]{1,2})(?![A-Za-z0-9'’])")
_TAG = re.compile(r"<ANSWER>([^<]{0,200})</ANSWER>", re.IGNORECASE)
_TAG_LINE = re.compile(r"^[ *#/<]{0,6}ANSWER[ *:>]{1,6}([0-9]{1,2})(?![0-9.])", re.MULTILINE)


@dataclass(frozen=True)
class _Options:
    """The options of a problem, label to normal text, as far as its prompt shows them, and what their labels are."""

    texts: dict[str, str]
    numbered: bool

    def label(self, match: re.Match[str] | None) -> str:
        """The label in a match, if it is of the options' kind."""
        found = next((group for group in match.groups() if group), "").upper() if match else ""
        return found if found.isdecimal() == self.numbered else ""

    def by_words(self, text: str) -> str:
        """The label of the one option that has these words."""
        plain = words.normal(text)
        named = [label for label, option in self.texts.items() if option and option == plain]
        return named[0] if len(named) == 1 else ""

    def inside(self, text: str) -> str:
        """The label of the one option whose words, three at least, stand in a text."""
        plain = words.normal(text)
        named = [label for label, option in self.texts.items() if len(option.split()) > 2 and option in plain]
        return named[0] if len(named) == 1 else ""


def judge(problem: Problem, said: Final) -> Judgement:
    """Options compared. None where the reference is neither an option's label nor the words of just one option."""
    return _judge(problem, said, tagged=False)


def judge_lineage(problem: Problem, said: Final) -> Judgement:
    """As `judge`, but an answer in the tag that the prompt asks for comes first; see the module."""
    if not re.fullmatch(r"\(?[0-9]{1,2}\)?", problem.answer.strip()):
        return Judgement(None, f"the reference answer {problem.answer[:40]!r} is not an option's number")
    return _judge(problem, said, tagged=True)


def _judge(problem: Problem, said: Final, *, tagged: bool) -> Judgement:
    gold, options = _reference(problem)
    if not gold:
        return Judgement(None, f"the reference answer {problem.answer[:40]!r} is not an option's letter")
    tail = said.whole[-_LONGEST:]
    tags = (_TAG.findall(tail) or _TAG_LINE.findall(tail)) if tagged else []
    texts = tuple(tags[-1:]) or said.texts
    found = {_picked(text, options) for text in texts} if texts else {_stated(tail, options)}
    if len(found) > 1:
        return Judgement(False, "the answer names several options")
    label = found.pop()
    if not label:
        return Judgement(False, "the answer names no option")
    if label != gold:
        return Judgement(False, "; ".join(filter(None, [f"({label}) is not ({gold})", said.note])))
    return Judgement(True, said.note)


def options_of(prompt: str, *, numbered: bool) -> dict[str, str]:
    """The options in a prompt, label to normal text: its lettered or numbered lines, or `(A) … (B) …` on one line.
    Empty where there are none."""
    lines = (_NUMBER_LINE if numbered else _LETTER_LINE).findall(prompt)
    found = {one or other: words.normal(text) for one, other, text in lines}
    if len(found) > 1 or numbered:
        return found
    plain = re.sub(r"\\q?quad(?![A-Za-z])|\\ ", " ", words.unwrap(prompt))
    marks = list(_INLINE.finditer(plain))
    if len(marks) < 2:
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(plain)]
    return {mark[1]: words.normal(plain[mark.end() : end].strip(" $,;")) for mark, end in zip(marks, ends, strict=True)}


def _reference(problem: Problem) -> tuple[str, _Options]:
    """The right option's label, empty where it cannot be told, with all the options."""
    plain = " ".join(words.unwrap(problem.answer).split())
    bare = re.fullmatch(r"\(?([A-Za-z]|[0-9]{1,2})[).:]?", plain)
    options = _Options(options_of(problem.prompt, numbered=False), numbered=False)
    if bare and bare[1].isdecimal():
        if not options.texts or not options.by_words(bare[1]):
            return bare[1], _Options(options_of(problem.prompt, numbered=True), numbered=True)
        return options.by_words(bare[1]), options
    if bare:
        return bare[1].upper(), options
    head = re.match(r"\(?([A-Z])[).:] ", plain)
    return (head[1] if head else options.by_words(plain)), options


def _picked(text: str, options: _Options) -> str:
    """The option that a box or a tag holds: a label, with or without words, or an option's words alone."""
    plain = " ".join(words.unwrap(text).split()).strip(" .*")
    label, rest = _head(plain, options)
    if label and not rest:
        return label
    if label and not _ANOTHER.match(f" {rest.lstrip(' ),.:')}" if rest[:1] in "),.:" else rest):
        behind = rest.lstrip(" ).:,-–—")
        named = options.by_words(behind)
        if named == label or (not named and rest[:1] in ").:-,"):
            return label
        if named:
            return ""
    return options.by_words(plain) or _stated(plain[-_LONGEST:], options)


def _head(line: str, options: _Options) -> tuple[str, str]:
    """The label with which a line begins, and the rest; a bracketed one is as good as one with a full stop."""
    start = _PREFIX.match(line)
    match = _HEAD.match(line, start.end() if start else 0)
    label = options.label(match)
    if not match or not label:
        return "", line
    rest = line[match.end() :]
    return label, f"){rest}" if rest and match[3] is None else rest.rstrip(")].: ") and rest


def _stated(text: str, options: _Options) -> str:
    """The option on which a text without a box settles; empty where it settles on none."""
    text = re.sub(r"[*`$]", "", words.unwrap(text))
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    if last := _bare(lines[-1], options):
        return last
    concluded = [label for line in lines for label in _conclusions(line, options)]
    if concluded:
        return concluded[-1].replace("several", "")
    if first := _bare(lines[0], options) or options.inside(lines[-1]):
        return first
    mentions = [(line, match) for line in lines for match in _labels(line, options) if _bracketed(line, match)]
    mentioned = {options.label(match) for _, match in mentions}
    denied = any(_DENIED.search(line[: match.start()][-_WINDOW:]) for line, match in mentions)
    denied |= any(_OUT.match(line, match.end()) is not None for line, match in mentions)
    return mentioned.pop() if len(mentioned) == 1 and not denied else ""


def _bare(line: str, options: _Options) -> str:
    """The option where a line holds nothing else."""
    line = line.strip(" .")
    label, rest = _head(line, options)
    rest = rest.lstrip(" ).:")
    if label and (not rest or options.by_words(rest) == label):
        return label
    return options.by_words(line)


def _conclusions(line: str, options: _Options) -> list[str]:
    """The labels, in order, that a line concludes with; "several" stands for a choice between labels."""
    found = []
    for match in _labels(line, options):
        before = line[max(0, match.start() - _WINDOW) : match.start()]
        behind = line[match.end() : match.end() + _WINDOW]
        if _DENIED.search(before):
            continue
        if _BEFORE.search(before):
            found.append("several" if _ANOTHER.match(behind) else options.label(match))
        elif _BEHIND.match(behind):
            found.append(options.label(match))
    for match in re.finditer(r"\banswer(?: is|:) ?", line, re.IGNORECASE):
        if label := options.by_words(line[match.end() :]):
            found.append(label)
    return found


def _labels(line: str, options: _Options) -> list[re.Match[str]]:
    """The labels in a line; the articles and pronouns "A" and "I" are none."""
    found = (_NUMBER if options.numbered else _LETTER).finditer(line)
    return [one for one in found if not (one[0] in ("A", "I") and _ARTICLE.match(line[one.end() : one.end() + 12]))]


def _bracketed(line: str, match: re.Match[str]) -> bool:
    return match[0][0] in "([" or line[: match.start()].endswith(("ption ", "hoice "))
