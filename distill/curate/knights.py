"""Who is a knight and who a knave: an answer in, a `Judgement` out; strings alone, in linear time.

`meta["solution"]` maps every name to whether it is a knight. Statements are read as R1 makes them: "Zoey is a knave",
"**Zoey**: knave", "Zoey and Ethan are knights", "Knights: Zoey, Ethan", headings with lists, rows and columns of
tables. Every name must be told rightly; of two statements about a name the last one counts, and what is only supposed
or quoted ("If Zoey is a knight", "Ethan says Zoey is a knave") is none. Who is not named is not told, unless "the
others" or "everyone" are: "Only Zoey is a knave" says nothing about Ethan.
"""

import re

from distill.curate import words
from distill.curate.final import Final
from distill.records import Judgement, Problem

_KIND = r"(?P<{0}>knight|knave)s?(?: ?\( ?s ?\))?(?![a-z])"
_BE = r"(?:is|are|was|were|must be|has to be|have to be|can only be|being|'s)"
_SURE = (
    r"(?:(?:both|all|each|therefore|thus|hence|also|indeed|then|clearly|definitely|actually|only|necessarily) ){0,2}"
)
_NOT = r"(?:not (?:be )?|cannot be |can ?not be |can't be |isn't |aren't |never )"
_LAYOUT = re.compile(
    r"\\(?:begin|end) ?\{[a-z*]{1,20}\}|\\(?:quad|qquad|hline|land|wedge|item|to|[a-z]{0,8}rightarrow)(?![A-Za-z])"
    r"|[*_${}~`\"“”]"
)
_SENTENCE = re.compile(r"[.;!?]+|\\\\")
_SUPPOSED = re.compile(
    r"\b(?:if|suppose|supposing|assum\w{1,4}|were|would|could|claim\w{0,3}|sa(?:ys?|id|ying)|state[sd]?|statement|told|tells?"
    r"|assert\w{0,3}|declare[sd]?|accus\w{1,4}|according|whether|consider\w{0,3}|case|unless)\b"
)
_CONCLUDES = re.compile(
    r"\b(?:so|then|thus|therefore|hence|but|however|since|because|must be|meaning|means|conclude)\b"
)
_PAUSE = r"(?: ?, ?and | ?, ?| and | ?/ ?)"
_MAX_GROUP = 11  # names joined in one statement, beside the first


def judge(problem: Problem, said: Final) -> Judgement:
    """Every name must be told rightly. The box is read first, and the whole answer only where the box leaves a name
    out."""
    solution = problem.meta.get("solution")
    if not isinstance(solution, dict) or not solution or not all(isinstance(one, bool) for one in solution.values()):
        return Judgement(None, "the problem has no solution in its meta")
    told = statements("\n".join(said.texts), list(solution)) if said.texts else {}
    if told.keys() != solution.keys():
        told = statements(said.whole[-words.LONGEST :], list(solution))
    missing = sorted(solution.keys() - told.keys())
    if missing:
        return Judgement(False, f"the answer does not say what {', '.join(missing)} is")
    wrong = sorted(name for name, knight in solution.items() if told[name] != knight)
    return Judgement(False, f"{', '.join(wrong)} told wrongly") if wrong else Judgement(True, said.note)


def statements(text: str, people: list[str]) -> dict[str, bool]:
    """Whom the text calls a knight (True) or a knave (False)."""
    reader = _Reader(people)
    kind = ""
    for raw in words.unwrap(text.replace("’", "'")).casefold().splitlines():
        line = " ".join(_LAYOUT.sub(" ", raw).replace("&", ",").split())
        heading = re.fullmatch(r"[#>\-• (]*(?:the |list of )?(knight|knave)s?(?: are| is)?[ :)=]*", line)
        if heading:
            kind = heading[1]
        elif kind and reader.only_names(line):
            reader.tell(reader.names(line), kind == "knight")
        elif line:
            kind = ""
            reader.read_line(line)
    return reader.told


class _Reader:
    """Statements about certain people, as they are read line by line; `told` has what was said last."""

    def __init__(self, people: list[str]) -> None:
        self.told: dict[str, bool] = {}
        self._people = {" ".join(name.casefold().split()): name for name in people}
        one = rf"\b(?:{'|'.join(map(re.escape, sorted(self._people, key=len, reverse=True)))})\b"
        group = rf"{one}(?:{_PAUSE}{one}){{0,{_MAX_GROUP}}}"
        self._one = re.compile(one)
        verb = rf"(?P<be> ?{_BE}(?= )| ?[:=,(\-–—→]+| ?\|)?"
        told = rf"(?P<who>{group}){verb} ?{_SURE}(?P<not>{_NOT})?(?:an? |the )?(?:only )?"
        listed = rf" ?(?:{_BE}|[:=|–—→-])+ ?\{{?(?:only )?(?P<them>{group})"
        rest = r"\b(?P<rest>others?|rest|every(?:one|body) else|every(?:one|body)|all(?: [a-z]+)?)"
        self._statement = re.compile(
            told
            + _KIND.format("one")
            + "|"
            + _KIND.format("two")
            + listed
            + f"|{rest} {_BE} {_SURE}(?P<none>{_NOT})?(?:an? )?"
            + _KIND.format("three")
        )
        self._columns: list[str] = []

    def names(self, text: str) -> list[str]:
        return [self._people[name] for name in self._one.findall(text)]

    def only_names(self, line: str) -> bool:
        """Whether a line holds names, and nothing else but what parts them."""
        return bool(self._one.search(line)) and not re.search(r"[a-z]", self._one.sub("", line).replace("and", ""))

    def tell(self, names: list[str], knight: bool) -> None:
        """Enters a statement; a later one about the same name replaces it."""
        for name in names:
            self.told.pop(name, None)
            self.told[name] = knight

    def read_line(self, line: str) -> None:
        """Reads a line's sentences, or a row of a table whose columns are the kinds."""
        if "|" in line and self._row([cell.strip() for cell in line.strip("| ").split("|")]):
            return
        for sentence in _SENTENCE.split(line):
            for match in self._statement.finditer(sentence):
                if not _is_supposed(sentence[max(0, match.start() - 80) : match.start()]):
                    self._enter(match)

    def _enter(self, match: re.Match[str]) -> None:
        knight = (match["one"] or match["two"] or match["three"]) == "knight"
        if match["who"]:
            names = self.names(match["who"])
            alone = (match["be"] or "").strip() in ("is", "was", "'s")
            self.tell(names[-1:] if alone else names, knight != bool(match["not"]))
        elif match["them"]:
            self.tell(self.names(match["them"]), knight)
        elif not match["none"]:
            others = match["rest"].startswith(("other", "rest")) or match["rest"].endswith("else")
            self.tell([name for name in self._people.values() if not others or name not in self.told], knight)

    def _row(self, cells: list[str]) -> bool:
        """Takes a row of a table with the columns "Knights" and "Knaves"; False where it is none."""
        kinds = [found[1] if (found := re.fullmatch(r"(knight|knave)s?", cell)) else "" for cell in cells]
        if {"knight", "knave"} <= set(kinds):
            self._columns = kinds
            return True
        if len(cells) != len(self._columns) or any(
            cell and not self.only_names(cell) for cell in cells if cell.strip("-: ")
        ):
            return False
        for cell, kind in zip(cells, self._columns, strict=True):
            if kind:
                self.tell(self.names(cell), kind == "knight")
        return True


def _is_supposed(before: str) -> bool:
    """Whether what stands before a statement makes it a supposition or a quotation, and draws no conclusion since."""
    supposed = [match.end() for match in _SUPPOSED.finditer(before)]
    concluded = [match.end() for match in _CONCLUDES.finditer(before)]
    return bool(supposed) and (not concluded or concluded[-1] < supposed[-1])
