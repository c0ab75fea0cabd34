"""What is remembered of a trace, instead of its text: a trace in, a few hashes and two MinHash signatures out.

Everything here is a pure function of one text or one trace, linear in its length, and the same in every process. The
signatures are rensa's (MinHash: Broder, 1997, "On the resemblance and containment of documents"). Words are hashed by
numpy, with a rolling hash over the whole text at once: as Python strings they take several times as long.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import groupby

import numpy as np
import numpy.typing as npt
from rensa import RMinHash  # type: ignore[import-untyped]

from distill.curate.normal import IDEOGRAPH, SMALL_NUMBERS, TENS, normal_words
from distill.records import Problem, Trace

PERMUTATIONS = 128
"""Values in a signature. The estimate's standard error is sqrt(j (1 - j) / 128): 0.03 at a similarity of 0.85."""

SHINGLE = 2
"""Words in a row whose sets are compared. Of thirty words one changed leaves a similarity of 0.87; with three in a row
it would be 0.81, and with single words their order would count for nothing."""

Hashes = npt.NDArray[np.uint64]

_SEED = 1
_LONGEST_WORD = 1000  # characters; longer ones are cut up, since ordering a run of combining marks is quadratic
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BASE_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_FEW = 64
_JAMO = frozenset(map(chr, range(0x1100, 0x1200)))
_LETTER, _DIGIT, _ALONE = 1, 2, 3
_COMMA, _POINT = ord(","), ord(".")
_RELATIONS = str.maketrans("", "", "()=<>")
_LATEX = re.compile(r"\\(?:[A-Za-z]+|[\[\]()])|\$")
_NESTED = re.compile(r"[()\[\]<>{}]|[a-z]+")
_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_OPERATORS = frozenset("()[]+-*/^=<>$\\.,;:!?'\"`~")
_TURNING = frozenset(
    """not no never none neither nor without except only all every each some any both either if unless then implies iff
    more less fewer greater smaller larger longer shorter higher lower least most maximum minimum largest smallest even
    odd true false before after first last left right up down increasing decreasing""".split()
)
"""Words each of which may turn a problem into another one."""
_ASKING = frozenset(
    """a an the this that these those here there below is are was were be please solve find compute calculate evaluate
    determine give tell me us you your what whats which who can could would will do does let we need want carefully
    following given problem question exercise task puzzle answer solution value result final and so now help with of
    simplify work out q step steps by explain carefully""".split()
)
"""Words that say that something is asked, and articles: with or without them a problem is the same."""


@dataclass(frozen=True)
class Features:
    """What is remembered of a trace. `sketch` and `numbers` are those of its reasoning, the rest are its problem's:
    `asked` is the sketch of the prompt, `marks` what must be equal in it, `content` all its words but those that only
    ask, and `answer` the reference answer."""

    id: str
    problem_id: str
    source: str
    digest: bytes
    sketch: bytes
    numbers: int
    asked: bytes
    marks: int
    content: int
    answer: int
    tokens: int = 0


def features(traces: Sequence[Trace]) -> list[Features]:
    """The features of traces, in order; their tokens are added by `with_tokens`."""
    texts = [folded(trace.completion.reasoning) for trace in traces]
    answers = [folded(trace.completion.answer) for trace in traces]
    words = [_words(text or other) for text, other in zip(texts, answers, strict=True)]
    sketched = _signed([hashes for hashes, _ in words])
    problems = {trace.problem.id: trace.problem for trace in traces}
    prompts = [normal_words(problem.prompt) for problem in problems.values()]
    asked = _signed([_words(" ".join(prompt))[0] for prompt in prompts])
    of_problem = {
        name: (asked[at], _marks(problem.prompt, prompts[at]), _content(prompts[at]), answer(problem))
        for at, (name, problem) in enumerate(problems.items())
    }
    return [
        Features(
            id=trace.id,
            problem_id=trace.problem.id,
            source=trace.problem.source,
            digest=_digest(trace.problem.id, texts[at], answers[at]),
            sketch=sketched[at],
            numbers=_numbers(*words[at]),
            asked=of_problem[trace.problem.id][0],
            marks=of_problem[trace.problem.id][1],
            content=of_problem[trace.problem.id][2],
            answer=of_problem[trace.problem.id][3],
        )
        for at, trace in enumerate(traces)
    ]


def with_tokens(found: Features, tokens: int) -> Features:
    """The same features with the trace's length in tokens of the student's tokenizer."""
    return replace(found, tokens=tokens)


def digest(trace: Trace) -> bytes:
    """Sixteen bytes; equal for exact duplicates: the same problem and, in the form of `folded`, the same text."""
    return _digest(trace.problem.id, folded(trace.completion.reasoning), folded(trace.completion.answer))


def sketch(text: str) -> bytes:
    """The MinHash signature of a text's `SHINGLE` words in a row, as 4 bytes for each of `PERMUTATIONS` values.

    A text of fewer words is compared whole; texts without any word are alike.
    """
    return sketches([text])[0]


def sketches(texts: Sequence[str]) -> list[bytes]:
    """The signatures of many texts, in order."""
    return _signed([_words(folded(text))[0] for text in texts])


def similarity(one: bytes, other: bytes) -> float:
    """The estimate, from two signatures, of the Jaccard similarity of their texts: the share of equal values."""
    return float((np.frombuffer(one, np.uint32) == np.frombuffer(other, np.uint32)).mean())


def numbers(text: str) -> int:
    """A hash, of 64 bits, of the numbers in a text, each as often as it stands there, in whatever order.

    1,000 is 1000, and number words up to ninety-nine are digits.
    """
    return _numbers(*_words(folded(text)))


def marks(prompt: str) -> int:
    """A hash, of 64 bits, of what must be equal, and in the same order, in two prompts that ask the same.

    These are numbers with their operators, names of one letter, words such as `not` and `least`, brackets, other signs
    that stand alone, and drawings: three or more lines of the same length.
    """
    return _marks(prompt, normal_words(prompt))


def content(prompt: str) -> int:
    """A hash, of 64 bits, of the words of a prompt in their order, but for articles and words that only ask."""
    return _content(normal_words(prompt))


def answer(problem: Problem) -> int:
    """A hash, of 64 bits, of a problem's reference answer: numbers by their value, others but for white space, case,
    and dollar signs. Without an answer, of what the problem's rule is given."""
    text = folded(problem.answer).replace(" ", "").replace("$", "").replace("\\!", "").rstrip(".")
    if _PLAIN_NUMBER.fullmatch(plain := text.replace(",", "")):
        text = format(Decimal(plain).normalize(), "f")
    return _hash64([text or json.dumps(problem.meta, sort_keys=True, default=str)])


def folded(text: str) -> str:
    """A text without differences of typography: NFKC, case folded, white space as single spaces."""
    text = " ".join(text.split())
    return text.lower() if text.isascii() else _compatible(text).casefold()


def _compatible(text: str) -> str:
    """NFKC. A text of few unusual characters, none of which joins the one before it, has them replaced one by one,
    which takes a fraction of the time."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    unusual = [chr(code) for code in np.unique(codes[codes > 127])]
    if len(unusual) > _FEW or any(unicodedata.category(sign)[0] == "M" or sign in _JAMO for sign in unusual):
        words = text.split(" ")
        if max(map(len, words)) > _LONGEST_WORD:
            words = [word[at : at + _LONGEST_WORD] for word in words for at in range(0, len(word), _LONGEST_WORD)]
        return unicodedata.normalize("NFKC", " ".join(words))
    for sign in unusual:
        plain = unicodedata.normalize("NFKC", sign)
        if plain != sign:
            text = text.replace(sign, plain)
    return text


def _digest(problem_id: str, reasoning: str, answer: str) -> bytes:
    whole = "\0".join((problem_id, reasoning, answer)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).digest()


def _hash64(parts: Iterable[str]) -> int:
    whole = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "little")


def _marks(prompt: str, words: Sequence[str]) -> int:
    bare = [word.translate(_RELATIONS) for word in words]
    telling = [word for word in bare if not word.isalpha() or word in _TURNING or (len(word) == 1 and word not in "ai")]
    if "\\" in prompt or "$" in prompt:
        prompt = _LATEX.sub(" ", prompt).replace("{", " ").replace("}", " ")
    nested = [part for part in _NESTED.findall(prompt.casefold()) if not part.isalpha() or part in _TURNING]
    signs = [sign.strip(".,;:!?") for sign in prompt.split() if _telling(sign)]
    return _hash64([*telling, "", *nested, "", *signs, "", *_drawings(prompt)])


def _telling(sign: str) -> bool:
    """Whether what stands between white space says something that no word of it does."""
    return "#" in sign or "@" in sign or not (any(map(str.isalnum, sign)) or _OPERATORS.issuperset(sign))


def _content(words: Sequence[str]) -> int:
    bare = [word.translate(_RELATIONS) for word in words]
    return _hash64([word for word in bare if word not in _ASKING] or bare)


def _drawings(prompt: str) -> list[str]:
    """The lines of a text that stand in a block of three or more of the same length: a maze, a board, a grid."""
    blocks = (list(block) for _, block in groupby((line.rstrip("\r\n") for line in prompt.splitlines()), len))
    return [line for block in blocks if len(block) > 2 and len(block[0]) > 2 for line in block]


def _words(text: str) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """The hashes of a folded text's words, and which of them are numbers. A word is a run of letters, a number (with
    its decimals, without its thousands separators), or an ideograph."""
    codes = np.frombuffer(f" {text}    ".encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds().take(codes, mode="clip")
    codes, kinds = _whole_numbers(codes, kinds)
    same = (kinds[1:] == kinds[:-1]) & (kinds[1:] != _ALONE)
    changes = np.flatnonzero(~same) + 1
    starts, ends = changes[:-1], changes[1:]
    worded = kinds[starts] > 0
    starts, ends = starts[worded], ends[worded]
    powers = np.multiply.accumulate(np.full(len(codes), _BASE))
    inverses = np.multiply.accumulate(np.full(len(codes), _BASE_INVERSE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum((codes + np.uint64(1)) * powers, dtype=np.uint64)])
    return _spelled((sums[ends] - sums[starts]) * inverses[starts], kinds[starts] == _DIGIT)


def _whole_numbers(
    codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """A point between digits belongs to their number; a comma before three of them is left out."""
    digit = kinds == _DIGIT
    inner = slice(1, -4)
    points = np.flatnonzero((codes[inner] == _POINT) & digit[:-5] & digit[2:-3]) + 1
    kinds[points] = _DIGIT
    commas = (codes[inner] == _COMMA) & digit[:-5] & digit[2:-3] & digit[3:-2] & digit[4:-1] & ~digit[5:]
    if not commas.any():
        return codes, kinds
    stay = np.ones(len(codes), np.bool_)
    stay[np.flatnonzero(commas) + 1] = False
    return codes[stay], kinds[stay]


def _spelled(hashes: Hashes, is_number: npt.NDArray[np.bool_]) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Number words as digits, up to ninety-nine."""
    names, values, digits = _number_words()
    at = np.minimum(np.searchsorted(names, hashes), len(names) - 1)
    spelled = names[at] == hashes
    if not spelled.any():
        return hashes, is_number
    value = np.where(spelled, values[at], -1)
    after = np.append(value[1:], -1)
    joined = (value >= 20) & (after > 0) & (after < 10)
    value[joined] += after[joined]
    hashes = np.where(spelled, digits[value], hashes)
    stay = np.append(True, ~joined[:-1])
    return hashes[stay], (is_number | spelled)[stay]


def _numbers(hashes: Hashes, is_number: npt.NDArray[np.bool_]) -> int:
    ordered = np.sort(hashes[is_number]).tobytes()
    return int.from_bytes(hashlib.blake2b(ordered, digest_size=8).digest(), "little")


def _signed(texts: Sequence[Hashes]) -> list[bytes]:
    """The signatures of texts from the hashes of their words."""
    shingled = [_shingles(hashes) for hashes in texts]
    offsets = np.cumsum([0, *map(len, shingled)])
    flat = np.concatenate([np.empty(0, np.uint64), *shingled])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets.tolist(), PERMUTATIONS, _SEED)
    return [np.array(row, np.uint32).tobytes() for row in matrix.to_rows()]


def _shingles(hashes: Hashes) -> Hashes:
    length = min(SHINGLE, len(hashes))
    if not length:
        return np.zeros(1, np.uint64)
    count = len(hashes) - length + 1
    mixed = np.zeros(count, np.uint64)
    for at in range(length):
        mixed = (mixed ^ hashes[at : at + count]) * _BASE
        mixed ^= mixed >> np.uint64(29)
    return mixed


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """What each character is part of: a word of letters, a number, a word of its own, or (0) none. Characters beyond
    the first plane (emoji, rare ideographs) stand for themselves."""
    kinds = np.zeros(0x10000, np.uint8)
    for code in range(0xFFFF):
        category = unicodedata.category(chr(code))
        if category[0] in "LM":
            kinds[code] = _ALONE if IDEOGRAPH.match(chr(code)) else _LETTER
        elif category[0] == "N":
            kinds[code] = _DIGIT
    kinds[0xFFFF] = _ALONE
    return kinds


@cache
def _number_words() -> tuple[Hashes, npt.NDArray[np.int64], Hashes]:
    """The hashes of the number words, ordered; the value of each; and the hash of each value written in digits."""
    known = sorted((_hash(word), value) for word, value in (SMALL_NUMBERS | TENS).items())
    digits = np.array([_hash(str(value)) for value in range(100)], np.uint64)
    return np.array([name for name, _ in known], np.uint64), np.array([value for _, value in known]), digits


def _hash(word: str) -> int:
    """The hash that `_words` gives a word."""
    return sum((ord(letter) + 1) * pow(int(_BASE), at, 2**64) for at, letter in enumerate(word)) % 2**64
