"""The forms in which n-grams are looked for: `NORMAL` reads what is in normal form already, `PLAIN` reads long texts.

`PLAIN` is the normal form as far as it can be had byte by byte, for texts of which there are gigabytes: letters and
digits in lower case and without accents, thousands without their separators, number words as digits one by one, no
LaTeX furniture, and no signs. Both sides of a comparison are always read by the same form.
"""

import re
import unicodedata

from distill.curate.ngrams import Form
from distill.curate.normal import FURNITURE, IDEOGRAPH, SIGNS, SMALL_NUMBERS, TENS, USUAL

_MARKS = re.compile(r"([^\w\s\x00-\x7f]{30})[^\w\s\x00-\x7f]+")
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_RAISED = re.compile("[⁰¹²³⁴-⁹₀-₉]+")
_NO_WORD = re.compile(r"[\W_]")
_THOUSANDS = re.compile(rb",(?=\d{3}(?!\d))(?<=\d,)")
_LATEX_THOUSANDS = re.compile(rb"\{,\}(?=\d{3}(?!\d))")

_LETTERS = bytes(byte if chr(byte).isalnum() or byte > 127 else 32 for byte in bytes(range(256)).lower())
_NUMBER_WORDS = {word.encode(): str(value).encode() for word, value in (SMALL_NUMBERS | TENS).items()}
_COMMANDS = frozenset(name.lower().encode() for name in FURNITURE) | {b"frac", b"dfrac", b"tfrac", b"begin", b"end"}


def encoded(text: str) -> bytes:
    """UTF-8, with lone surrogates as they are."""
    return text.encode("utf-8", "surrogatepass")


def _read(text: str) -> bytes:
    read = encoded(text)
    if b"," in read:
        read = _THOUSANDS.sub(b"", read)
        if b"{,}" in read:
            read = _LATEX_THOUSANDS.sub(b"", read)
    return read


def _spell(word: bytes) -> list[bytes]:
    """The words of small letters without accents in what stands between two signs of ASCII: NFKD without its marks.
    Other signs part words, and an ideograph is one."""
    text = _MARKS.sub(r"\1", word.decode("utf-8", "surrogatepass"))
    taken_apart = unicodedata.normalize("NFKD", _RAISED.sub(r" \g<0> ", text).translate(SIGNS)).casefold()
    letters = _ACCENTS.sub("", taken_apart)
    return [encoded(part) for part in IDEOGRAPH.sub(r" \1 ", _NO_WORD.sub(" ", letters)).split()]


_ANSWER_FORMS = """answer answers express expressed enter written form common fraction decimal simplest terms lowest
    simplified relatively coprime prime positive negative integer integers real numbers number value nearest rounded
    round exact"""
TELL_NOTHING = frozenset(word.encode() for word in (*USUAL, *_ANSWER_FORMS.split()))
"""Words that do not make a sequence of words one problem's own: the usual ones, and those that say how to answer."""

PLAIN = Form(_read, _LETTERS, _NUMBER_WORDS, _COMMANDS, _spell)
NORMAL = Form(encoded, bytes(range(256)))
