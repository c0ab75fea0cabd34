"""Problems said in other words, by rule: a prompt in, and one that asks the same out.

Names are changed, the same one always to the same; numbers are kept, some small ones as words; sentences change their
places, and clauses around a comma; a few words give way to others that say the same; and a sentence may stand before.
Formulas stay as they are.
"""

import random
import re
from collections.abc import Sequence

NAMES = "Tobias Ingrid Rashid Marisol Quentin Yuki Bartholomew Anneliese Kofi Svetlana".split()
WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""".split()
SYNONYMS = {
    "How many": "What number of",
    "how many": "what number of",
    "each": "every",
    "total": "overall",
    "altogether": "in total",
    "If": "Suppose",
    "buys": "purchases",
    "has": "owns",
    "Find": "Determine",
    "Compute": "Calculate",
    "What is": "Determine",
}
BEFORE = (
    "Please solve the following exercise.",
    "Here is a question from our workbook.",
    "Think about this carefully.",
    "A student asked me this yesterday.",
)
_NAME = re.compile(r"(?<![\\$\w])[A-Z][a-z]{2,}(?![\w-])")
_SMALL = re.compile(r"(?<![\w.$\\{^(/,=+*-])(?<![-+=*/] )(\d{1,2})(?= [a-z])")
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_CLAUSES = re.compile(r"([^,$]+), ([^,$]+)([.?!])")


def small_words(prompts: Sequence[str]) -> frozenset[str]:
    """The words that prompts write in small letters: others are names."""
    return frozenset(word for prompt in prompts for word in re.findall(r"\b[a-z]+\b", prompt))


def paraphrase(prompt: str, small: frozenset[str], drawn: random.Random) -> str:
    """The prompt in other words; `small` are words that are no names."""
    if "$" not in prompt:
        names = [name for name in dict.fromkeys(_NAME.findall(prompt)) if name.lower() not in small]
        for old, new in zip(names, drawn.sample(NAMES, min(len(names), len(NAMES))), strict=False):
            prompt = re.sub(rf"\b{old}\b", new, prompt)
    if drawn.random() < 0.7:
        prompt = _SMALL.sub(lambda match: _spelled(match[1]) if drawn.random() < 0.6 else match[1], prompt)
    for old, new in SYNONYMS.items():
        if drawn.random() < 0.4:
            prompt = re.sub(rf"\b{old}\b", new, prompt, count=1)
    sentences = _SENTENCE.split(prompt.strip())
    sentences = [_swapped(sentence) if drawn.random() < 0.5 else sentence for sentence in sentences]
    if len(sentences) > 1:
        asked = sentences.pop()
        drawn.shuffle(sentences)
        sentences.insert(0 if drawn.random() < 0.5 else len(sentences), asked)
    if drawn.random() < 0.5:
        sentences.insert(0, drawn.choice(BEFORE))
    return " ".join(sentences)


def _spelled(digits: str) -> str:
    return WORDS[int(digits)] if int(digits) < len(WORDS) else digits


def _swapped(sentence: str) -> str:
    match = _CLAUSES.fullmatch(sentence)
    if match is None:
        return sentence
    return f"{match[2][0].upper()}{match[2][1:]}, {match[1][0].lower()}{match[1][1:]}{match[3]}"
