"""Program text within a trace: a text in, the first line of a program out, or None.

R1's makers left code blocks out of the traces that they trained on (arXiv 2501.12948, section 2.3.3). LaTeX, formulas,
drawn trees, pseudo-mathematics and a `name` between backticks are no code.
"""

import re

_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})[ \t]*([^\n`]{0,40})")
_LINE = 400
"""Characters of a line that are looked at."""

_NEAR = 10
"""Lines within which two lines of a program must stand where no fence says that they are one."""

_LANGUAGES = frozenset(
    """python py python3 ipython pycon sage c cpp c++ cc h cs csharp c# java javascript js jsx ts tsx typescript go
    golang rust rs r matlab octave julia jl sql bash sh shell zsh console powershell html css php ruby rb perl
    haskell hs ocaml scala kotlin swift lisp scheme clojure elixir erlang lua fortran pascal delphi ada assembly asm
    nasm asy asymptote mathematica wolfram maple maxima lean lean4 coq isabelle prolog tikz xml json yaml toml dart
    vb vba cobol verilog solidity""".split()
)
"""What is written behind a fence for a program, or for data."""

_PROSE = ".,?!"
"""What a line of prose ends with, and no line of a program does; an empty line too."""

_CERTAIN = re.compile(
    r"\s*(?:>>>\s|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*(?:\([\w., ]*\))?\s*[:{]\s*$"
    r"|from\s+[\w.]+\s+import\s+[\w*(]|import\s+[a-z][\w.]*(?:\s+as\s+\w+)?(?:,\s*[\w.]+)*\s*;?\s*$"
    r"|import\s+java|#include\s*[<\"]|#!\s*/|using\s+namespace\s|(?:public|private|static|protected)\s+\w+\s+\w+"
    r"|(?:int|void|double)\s+main\s*\(|(?:int|long|double|float|char|bool|string|auto)\s+\w+\s*(?:=[^;]*|\[[^;]*|,[^;]*)?;"
    r"|function\s+\w+\s*\(|(?:const|let|var)\s+\w+\s*=[^;]*;\s*$|print(?:f|ln)?\s*\(.*\)\s*;?\s*$"
    r"|console\.log\s*\(|System\.out\.|std::|cout\s*<<|SELECT\s+[\w*].*\bFROM\b|fn\s+\w+\s*\(|func\s+\w+\s*\("
    r"|for\s+\w+(?:\s*,\s*\w+)*\s+in\s+(?:range|enumerate|zip|sorted|list|itertools\.\w+|reversed)\s*\(.*:\s*$"
    r"|for\s*\(\s*(?:int|let|var|auto|size_t)?\s*\w+\s*=[^;]*;|if\s+__name__\s*==|<\?php|pip\s+install\s|<!doctype\s+html"
    r"|while\s+(?:True|1)\s*:|(?:while|if)\s*\([^)]*\)\s*\{|\}\s*else\s*\{)",
)
"""Lines that hardly stand in anything but a program."""

_LIKELY = re.compile(
    r"\s*(?:return\b[^.]*$|(?:if|elif|while|for|with|except)\b[^.?!]*:\s*(?:#.*)?$|(?:else|try|finally)\s*:\s*$|[{}]\s*;?\s*$"
    r"|[\w.\[\]]+\s*[-+*/]=\s*\S|[\w.]+\s*=\s*(?:\[\]|\{\}|set\(\)|None|True|False|\"[^\"]*\"|'[^']*')\s*;?\s*$"
    r"|[A-Za-z_]\w*(?:\.\w+)*\(.*\)\s*;\s*$|\w+\.[a-z_]\w*\(.*\)\s*;?\s*$|[\w\[\] ,]+\s*=[^;]*;\s*$"
    r"|[A-Za-z_]\w*\s*=\s*[a-z_]\w{2,}\([^)]*\)\s*$|(?:import|pass|break|continue)\b[ \w.]*$|#\s+\w|//\s*\w)",
)
"""Lines that stand in programs, and at times in what is none."""


def first_line(text: str) -> str | None:
    """The line by which a text is found to hold a program, fenced or not; None where there is none."""
    block: list[str] = []
    fence = language = ""
    last, certain = -_NEAR - 1, False
    for at, line in enumerate(text.split("\n")):
        mark = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if mark is not None and (not fence or mark[1].startswith(fence)):
            found = _fenced(language, block) if fence else _in_one_line(mark[1], line[mark.end(1) :])
            if found is not None:
                return found
            opens = not fence and mark[1] not in line[mark.end(1) :]
            fence, language, block = (mark[1], mark[2].strip().lower(), []) if opens else ("", "", [])
        elif fence:
            block.append(line)
        elif line[-1:] not in _PROSE:
            sure = _CERTAIN.match(line, 0, _LINE) is not None
            if sure or _LIKELY.match(line, 0, _LINE) is not None:
                if at - last <= _NEAR and (sure or certain):
                    return line.strip()[:80]
                last, certain = at, sure
    return _fenced(language, block) if fence else None


def _in_one_line(fence: str, rest: str) -> str | None:
    """The program between two fences in a line, where the second stands in the `rest` of it."""
    inside, closing, _ = rest.partition(fence)
    language, _, body = inside.strip().partition(" ")
    return _fenced(language.lower(), [body if language.lower() in _LANGUAGES else inside]) if closing else None


def _fenced(language: str, lines: list[str]) -> str | None:
    """The first line of a fenced block if it is a program: by its language, or by lines of which one is certain or two
    are likely. Numbers and LaTeX are none, whatever the language."""
    written = [line for line in lines if line.strip()]
    if not any(_spoken(line) for line in written):
        return None
    words = language.replace("{", " ").replace("}", " ").lstrip(". ").split()
    certain = sum(_CERTAIN.match(line, 0, _LINE) is not None for line in written)
    likely = sum(_LIKELY.match(line, 0, _LINE) is not None for line in written)
    is_one = bool(words and words[0] in _LANGUAGES) or certain > 0 or likely > 1
    return written[0].strip()[:80] if is_one else None


def _spoken(line: str) -> bool:
    """Whether a line is more than numbers and LaTeX."""
    bare = line.strip()[:_LINE]
    return not bare.startswith(("$", "\\")) and any(map(str.isalpha, bare))
