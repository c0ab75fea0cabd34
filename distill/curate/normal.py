"""The normal form in which prompts are compared: a text in, its words out, whatever its typography.

What only looks different is the same: NFKC and lower case; furniture of LaTeX and Markdown, currency and percent signs
left out; `\\frac{1}{2}` as 1/2; 80,000 as 80000 and 2.50 as 2.5; number words as digits (twenty-five is 25, two dozen
is 2 dozen). What changes a problem is kept: an operator stands before the word it acts on (`9 - 3` is 9, -3), and so
does a bracket next to an operator, or one of a function or a product: `9 - (3 + 7)`, `2(x + 3)`.

Everything here is linear in the text, and no text is refused.
"""

import re
import unicodedata

_OPERATORS = "-+*/^=<>≤≥≠±"
_RELATIONS = tuple("=<>≤≥≠^")
PREFIX = _OPERATORS + "()"

_NUMBER = r"\d+(?:\.\d+)*|(?<!\w)\.\d+"
_TOKEN = re.compile(rf"(?:\)? ?[{re.escape(_OPERATORS)}]{{1,2}} ?\({{0,2}}|(?<=\w)\()?(?:{_NUMBER}|[^\W\d_]+)")
_HYPHEN = re.compile(r"-(?:(?<=[^\W\d_]{2}-)(?=[^\W\d_])|(?<=[^\W\d_]-)(?=[^\W\d_]{2}))")
_THOUSAND = re.compile(r",\d{3}")
_THOUSANDS = re.compile(r"(?<![\d,.])[1-9]\d{0,2}(?:,\d{3})+(?!\d)")
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|\\,|\\!,|,\\!)(?=\d{3}(?!\d))")
_ARGUMENT = r"\{((?:[^{}]|\{[^{}]{0,60}\}){0,200})\}"
_FRACTION = re.compile(rf"\\[dtc]?frac *{_ARGUMENT} *{_ARGUMENT}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac *(\d) *(\d)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end) *\{[^{}]{0,30}\}(?:\{[clr|@ ]{0,20}\})?")
_DEGREES = re.compile(r"\^ ?\{? ?\\circ\b ?\}?|°|º")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_BULLET = re.compile(r"^[ \t]*(?:[*+-]|#{1,6}|>)[ \t]", re.MULTILINE)
_EMPHASIS = re.compile(r"\*\*+|__+|`+|(?<=\s)\*(?=\w)|(?<=\w)\*(?=[\s.,;:!?])")
_POWER = re.compile(r"(?<=\w)\*\*(?=[\w(-])")
_ATOM = re.compile(r"-?[\w.]+")
_MARKS = re.compile(r"([^\w\s\x00-\x7f]{30})(?=[^\w\s\x00-\x7f])")
_RAISED = re.compile("[⁰¹²³⁴-⁹]+")
_LOWERED = re.compile("[₀-₉]+")
IDEOGRAPH = re.compile("([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")

FURNITURE = (
    dict.fromkeys(
        """left right big Big bigg Bigg bigl bigr Bigl Bigr middle quad qquad displaystyle textstyle limits text textbf
        textit textrm texttt mathrm mathbf mathit mathsf mathbb mathcal operatorname mbox boxed emph underline overline
        ldots dots cdots vdots hspace vspace hfill newline noindent item label tag allowbreak phantom hline""".split(),
        " ",
    )
    | dict.fromkeys("cdot times ast".split(), "*")
    | {"div": "/", "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "ne": "≠"}
    | {"neq": "≠", "pm": "±", "lt": "<", "gt": ">", "circ": " degrees "}
)
SIGNS = str.maketrans(
    dict.fromkeys("×·⋅∙✕", "*")
    | dict.fromkeys("−–‐‑﹣", "-")
    | dict.fromkeys("’‘'´", " ")
    | {"÷": "/", "⁄": "/", "∕": "/", "√": " sqrt ", "∞": " infty ", "∑": " sum ", "∏": " prod ", "∫": " int "}
    | {"α": " alpha ", "β": " beta ", "γ": " gamma ", "δ": " delta ", "ε": " epsilon ", "θ": " theta ", "λ": " lambda "}
    | {"μ": " mu ", "π": " pi ", "ρ": " rho ", "σ": " sigma ", "τ": " tau ", "φ": " phi ", "ω": " omega "}
)
SMALL_NUMBERS = {
    word: value
    for value, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen""".split()
    )
}
TENS = {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_NUMBER_WORDS = {*SMALL_NUMBERS, *TENS, "hundred", *_SCALES}
_UNIT_WORDS = {"percent", "dollar", "dollars", "usd"}
_OPERANDS = {
    "sin",
    "cos",
    "tan",
    "log",
    "ln",
    "exp",
    "sqrt",
    "pi",
    "alpha",
    "beta",
    "theta",
    "sum",
    "infty",
    *SMALL_NUMBERS,
}
USUAL = frozenset(
    """a about after also am an and any are as at be because been before being between both but by can could did do
    does each every few find for from get gets given got had has have he her hers him his how i if in into is it its
    just let ll many me more most much my now of off on one only or other our out over own per re s same she so
    such suppose t than that the their them then there these they this those through to too until up upon ve very
    was we were what when where which while who whose why will with would you your""".split()
)
"""The most usual words of English, which tell one problem from another the least."""

NEVER_NAMES = frozenset(
    """true false yes no monday tuesday wednesday thursday friday saturday sunday january february march april may june
    july august september october november december am pm north south east west left right""".split()
)
"""Words with a capital that are no names."""

_EXACT_DIGITS = 15
"""A longer number is never reckoned with, only compared."""


def normal_words(text: str) -> list[str]:
    """The words of a text in normal form, in order: letters, or a number, after what acts on it (`-3`, `=x`, `(x`)."""
    return folded(cased_words(text))


def normal_text(text: str) -> str:
    """The same as one text, with single spaces: equal for texts that differ in their typography only."""
    return " ".join(normal_words(text))


def numbers(words: list[str]) -> list[str]:
    """The numbers among words in normal form, in order and without what acts on them."""
    return [word for word in map(bare, words) if word[:1].isdecimal()]


def bare(word: str) -> str:
    """A word in normal form without what acts on it: `3` of `-3`."""
    return word.lstrip(PREFIX)


def cased_words(text: str) -> list[str]:
    """The words with the case that they have in the text, and number words still as words."""
    found = _TOKEN.findall(" ".join(_clean(text).split()))
    return [word if word[0].isalnum() else _acted_on(word) for word in found]


def folded(words: list[str]) -> list[str]:
    """Words of `cased_words` in normal form: lower case, number words as digits, numbers in one spelling."""
    words = "\0".join(words).casefold().split("\0") if words else words
    if not _NUMBER_WORDS.isdisjoint([*words, *(bare(word) for word in words if not word[0].isalnum())]):
        words = _reckoned(words)
    words = [_shortest(word) if "." in word else word for word in words]
    if _UNIT_WORDS.isdisjoint(words):
        return words
    before = ["", *words]
    return [
        word for last, word in zip(before, words, strict=False) if word not in _UNIT_WORDS or not last[-1:].isdecimal()
    ]


def _clean(text: str) -> str:
    if not text.isascii():
        text = compatible(text)
    if "\\" in text or "{,}" in text:
        text = _without_latex(text)
    if "*" in text or "_" in text or "#" in text or "`" in text or ">" in text or "- " in text:
        text = _EMPHASIS.sub(" ", _POWER.sub("^", _BULLET.sub(" ", text)))
    if _THOUSAND.search(text):
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    text = text.replace("{", " ").replace("}", " ")
    return _HYPHEN.sub(" ", text) if "-" in text else text


def compatible(text: str) -> str:
    """NFKC, with signs and Greek letters as ASCII writes them, and every ideograph a word of its own.

    Runs of marks are broken up first (Unicode's stream-safe format, UAX 15, D3), since ordering them is quadratic.
    """
    text = _RAISED.sub(lambda match: f"^{match[0]} ", _DEGREES.sub(" degrees ", text))
    text = _LOWERED.sub(r" \g<0> ", text)
    text = unicodedata.normalize("NFKC", _MARKS.sub(r"\1 ", text))
    return IDEOGRAPH.sub(r" \1 ", text.translate(SIGNS))


def _without_latex(text: str) -> str:
    text = _ENVIRONMENT.sub(" ", _LATEX_COMMA.sub("", text))
    text = _SHORT_FRACTION.sub(r" \1/\2 ", text)
    for _ in range(3):
        text = _FRACTION.sub(lambda match: f" {_bracketed(match[1])}/{_bracketed(match[2])} ", text)
    text = _DEGREES.sub(" degrees ", text)
    text = _COMMAND.sub(lambda match: FURNITURE.get(match[1], f" {match[1]} "), text)
    return text.replace("\\", " ")


def _bracketed(part: str) -> str:
    part = part.strip()
    return part if _ATOM.fullmatch(part) else f"({part})"


def _acted_on(found: str) -> str:
    """A word with what stands before it, if that acts on it; a hyphen or a slash between words does not."""
    found = found.replace(" ", "")
    word = found.lstrip(PREFIX)
    before = found[: len(found) - len(word)]
    relates = before[:1] in _RELATIONS or before[-1:] == "("
    return found if relates or _operand(word) else word


def _operand(word: str) -> bool:
    return len(word) == 1 or word[-1].isdecimal() or word.casefold() in _OPERANDS


def _shortest(word: str) -> str:
    """2.50 as 2.5, 3.00 as 3 and .5 as 0.5; several dots (1.2.3) are no decimal number."""
    if word.count(".") != 1:
        return word
    whole, _, rest = word.partition(".")
    rest = rest.rstrip("0")
    whole = whole if whole[-1:].isdecimal() else f"{whole}0"
    return f"{whole}.{rest}" if rest else whole


def _reckoned(words: list[str]) -> list[str]:
    given: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        start = word.lstrip(PREFIX)
        value, after = _spelled(words, at, start) if start in _NUMBER_WORDS or start[0].isdecimal() else ("", at)
        given.append(word if after == at else word[: len(word) - len(start)] + value)
        at = max(after, at + 1)
    return given


def _spelled(words: list[str], at: int, start: str) -> tuple[str, int]:
    """The number that begins at a word, and where it ends; it ends where it begins if there is none.

    Takes `three`, `twenty five`, `one hundred and five`, `two thousand and sixteen`, `a million`, and digits before a
    scale (`2.5 million`).
    """
    if start[:1].isdecimal():
        return _scaled(words, at, start)
    total, after, most = 0, at, 10**18
    while after < len(words):
        group, behind = _group(words, after if after == at else _past_and(words, after), start if after == at else "")
        if behind == after or group is None:
            break
        scale = _SCALES.get(words[behind], 1) if behind < len(words) else 1
        if scale >= most or (scale == 1 and most == 10**18 and after != at):
            break
        total, after, most = total + group * scale, behind + (scale > 1), scale
        if scale == 1:
            break
    return str(total), after


def _group(words: list[str], at: int, start: str) -> tuple[int | None, int]:
    """A number below a thousand, or a bare `hundred` or scale as one of it, and where it ends."""
    word = start or (words[at] if at < len(words) else "")
    if word in _SCALES:
        return (1, at) if start else (None, at)
    value, after = (1, at) if word == "hundred" else _small(words, at, word)
    if value is not None and 0 < value < 100 and after < len(words) and words[after] == "hundred":
        value, after = value * 100, after + 1
        rest, behind = _small(words, _past_and(words, after), "")
        if rest:
            value, after = value + rest, behind
    return value, after


def _small(words: list[str], at: int, start: str) -> tuple[int | None, int]:
    word = start or (words[at] if at < len(words) else "")
    if word in SMALL_NUMBERS:
        return SMALL_NUMBERS[word], at + 1
    if word not in TENS:
        return None, at
    unit = SMALL_NUMBERS.get(words[at + 1], 0) if at + 1 < len(words) else 0
    return (TENS[word] + unit, at + 2) if 0 < unit < 10 else (TENS[word], at + 1)


def _past_and(words: list[str], at: int) -> int:
    return at + 1 if at < len(words) and words[at] == "and" else at


def _scaled(words: list[str], at: int, start: str) -> tuple[str, int]:
    scale = {"hundred": 100, **_SCALES}.get(words[at + 1]) if at + 1 < len(words) else None
    if scale is None or len(start) > _EXACT_DIGITS or start.count(".") > 1:
        return start, at
    whole, _, rest = start.partition(".")
    power = len(str(scale)) - 1
    if len(rest) > power:
        return start, at
    return str(int(whole + rest.ljust(power, "0"))), at + 2
