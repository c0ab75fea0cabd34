"""What licences ask, as far as a distilled model is concerned: a table of terms, and tables of models and data sets
that are known to be under them. Names in, terms out; what is not known for sure stands in no table.

`texts/` holds the licences that must go along with the weights, as their makers wrote them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TEXTS = Path(__file__).with_name("texts")

Outputs = Literal["free", "asks", "binds", "family", "forbidden"]


@dataclass(frozen=True)
class Terms:
    """One licence. `id` is the Hub's identifier, or a name of ours where `hub` is False (the Hub says `other`).

    `outputs` says what follows for a model that learns from what is under it: nothing (`free`); duties, though the
    model has a licence of its own (`asks`); the same licence (`binds`); only for models of the same family
    (`family`); it may not be (`forbidden`). `duties` follow for who passes on weights made from it, `learnt` for who
    passes on a model that learnt from it; each names its section. `begins` is how that model's name must begin,
    `display` what must be shown, `notice` the line for NOTICE; `copy` says whether a copy of it must go along.
    """

    id: str
    name: str
    link: str
    outputs: Outputs = "free"
    duties: tuple[str, ...] = ()
    learnt: tuple[str, ...] = ()
    begins: str = ""
    display: str = ""
    notice: str = ""
    copy: bool = False
    permissive: bool = False
    commercial: bool = True
    share_alike: bool = False
    hub: bool = True

    @property
    def text(self) -> str | None:
        """The licence itself, where it comes with the package."""
        path = TEXTS / f"{self.id}.txt"
        return path.read_text(encoding="utf-8") if path.is_file() else None


def _llama(version: str, released: str) -> Terms:
    """Llama 3.1 and on: section 1.b of each is the same, but for the version (github.com/meta-llama/llama-models)."""
    begins = f'Begin the model\'s name with "Llama" (Llama {version} Community License, section 1.b.i).'
    policy = f"https://www.llama.com/llama{version.replace('.', '_')}/use-policy"
    return Terms(
        f"llama{version}",
        f"Llama {version} Community License Agreement ({released})",
        f"https://github.com/meta-llama/llama-models/blob/main/models/llama{version.replace('.', '_')}/LICENSE",
        outputs="asks",
        duties=(
            f"Pass on a copy of the Llama {version} Community License (section 1.b.i).",
            f'Display "Built with Llama" on a page or document about the model (Llama {version}, section 1.b.i).',
            begins,
            f"Keep the attribution notice in a file NOTICE (Llama {version}, section 1.b.iii).",
            f"Keep to the Acceptable Use Policy, {policy} (Llama {version}, section 1.b.iv).",
            f"Ask Meta for a licence above 700 million monthly users (Llama {version}, section 2).",
        ),
        learnt=(begins,),
        begins="Llama",
        display="Built with Llama",
        notice=(
            f"Llama {version} is licensed under the Llama {version} Community License, "
            "Copyright © Meta Platforms, Inc. All Rights Reserved."
        ),
        copy=True,
    )


def _qwen(id_: str, name: str, commercial: bool, last: str) -> Terms:
    rules = "5.b" if commercial else "4.b"
    built = (
        f'Display "Built with Qwen" or "Improved using Qwen" in the model\'s documentation ({name}, section {rules}).'
    )
    return Terms(
        id_,
        name,
        f"https://huggingface.co/Qwen/{'Qwen2.5-3B' if id_ == 'qwen-research' else 'Qwen2.5-72B'}/blob/main/LICENSE",
        outputs="asks" if commercial else "binds",
        duties=(f"Pass on a copy of the {name}, and keep its notice in a file NOTICE (section 3).", built, last),
        learnt=(built,) if commercial else (built, last),
        display="Built with Qwen",
        notice=f"Qwen is licensed under the {name}, Copyright (c) Alibaba Cloud. All Rights Reserved.",
        copy=True,
        commercial=commercial,
        hub=False,
    )


_OLD_LLAMA = "its output may improve no other language model (section 1.b.v)"
_USE = "Pass on the use restrictions of {} as binding terms of the licence."

TERMS: dict[str, Terms] = {
    terms.id: terms
    for terms in (
        Terms(
            "apache-2.0",
            "Apache License 2.0",
            "https://www.apache.org/licenses/LICENSE-2.0",
            duties=(
                "Pass on a copy of the Apache License (section 4(a)), say that files were changed (4(b)), and keep "
                "the notices (4(c), 4(d)): LICENSE and NOTICE do.",
            ),
            copy=True,
            permissive=True,
        ),
        Terms(
            "mit",
            "MIT License",
            "https://opensource.org/license/mit",
            duties=("Keep the copyright notice and the permission notice in all copies (MIT License).",),
            copy=True,
            permissive=True,
        ),
        Terms(
            "bsd-3-clause",
            "BSD 3-Clause License",
            "https://opensource.org/license/bsd-3-clause",
            duties=("Keep the copyright notice, the conditions and the disclaimer (BSD, clauses 1 and 2).",),
            copy=True,
            permissive=True,
        ),
        Terms("cc0-1.0", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", permissive=True),
        Terms("unlicense", "The Unlicense", "https://unlicense.org/", permissive=True),
        Terms(
            "odc-by",
            "Open Data Commons Attribution License 1.0",
            "https://opendatacommons.org/licenses/by/1-0/",
            outputs="asks",
            learnt=("Name the data set and its licence (ODC-By 1.0, section 4.3): this card does.",),
            permissive=True,
        ),
        _llama("3.1", "July 23, 2024"),
        _llama("3.2", "September 25, 2024"),
        _llama("3.3", "December 6, 2024"),
        _llama("4", "April 5, 2025"),
        Terms(
            "llama3",
            "Meta Llama 3 Community License Agreement (April 18, 2024)",
            "https://github.com/meta-llama/llama-models/blob/main/models/llama3/LICENSE",
            outputs="family",
            duties=(
                "Pass on a copy of the Meta Llama 3 Community License (section 1.b.i).",
                'Display "Built with Meta Llama 3" on a page or document about the model (Llama 3, section 1.b.i).',
                'Begin the model\'s name with "Llama 3" (Llama 3, section 1.b.i).',
                "Keep the attribution notice in a file NOTICE (Llama 3, section 1.b.iii).",
                "Keep to the Acceptable Use Policy, https://www.llama.com/llama3/use-policy (Llama 3, 1.b.iv).",
                "Ask Meta for a licence above 700 million monthly users (Llama 3, section 2).",
            ),
            learnt=(_OLD_LLAMA,),
            begins="Llama 3",
            display="Built with Meta Llama 3",
            notice=(
                "Meta Llama 3 is licensed under the Meta Llama 3 Community License, "
                "Copyright © Meta Platforms, Inc. All Rights Reserved."
            ),
            copy=True,
        ),
        Terms(
            "llama2",
            "LLAMA 2 Community License Agreement",
            "https://github.com/meta-llama/llama-models/blob/main/models/llama2/LICENSE",
            outputs="family",
            duties=(
                "Pass on a copy of the LLAMA 2 Community License (section 1.b.i).",
                "Keep the attribution notice in a file NOTICE (Llama 2, section 1.b.iii).",
                "Keep to the Acceptable Use Policy, https://ai.meta.com/llama/use-policy (Llama 2, section 1.b.iv).",
            ),
            learnt=(_OLD_LLAMA,),
            notice=(
                "Llama 2 is licensed under the LLAMA 2 Community License, "
                "Copyright (c) Meta Platforms, Inc. All Rights Reserved."
            ),
            copy=True,
        ),
        _qwen(
            "qwen-research",
            "Qwen RESEARCH LICENSE AGREEMENT",
            False,
            "Use it for research or evaluation only, not commercially (Qwen RESEARCH LICENSE AGREEMENT, section 2).",
        ),
        _qwen(
            "qwen",
            "Qwen LICENSE AGREEMENT",
            True,
            "Ask Alibaba Cloud for a licence above 100 million monthly users (Qwen LICENSE AGREEMENT, section 4).",
        ),
        Terms(
            "gemma",
            "Gemma Terms of Use",
            "https://ai.google.dev/gemma/terms",
            outputs="binds",  # section 1.1(e): a model trained on Gemma's output is a Model Derivative
            duties=(
                "Pass on a copy of the Gemma Terms of Use and say that files were changed (section 3.1).",
                _USE.format("the Gemma Prohibited Use Policy (Gemma Terms, sections 3.1 and 3.2)"),
            ),
            learnt=(
                "Pass on a copy of the Gemma Terms of Use: a model trained on Gemma's output is a Model Derivative "
                "(sections 1.1(e) and 3.1).",
                _USE.format("the Gemma Prohibited Use Policy (Gemma Terms, sections 3.1 and 3.2)"),
            ),
            notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
            copy=True,
        ),
        Terms(
            "deepseek",
            "DeepSeek License Agreement 1.0 (model)",
            "https://github.com/deepseek-ai/DeepSeek-V3/blob/main/LICENSE-MODEL",
            outputs="binds",  # section 1: distillation makes a Derivative of the Model
            duties=(
                _USE.format("its Attachment A (DeepSeek License Agreement, sections 4 and 5)"),
                "Pass on a copy of the DeepSeek License Agreement (section 4).",
            ),
            learnt=(_USE.format("its Attachment A (DeepSeek License Agreement, sections 1, 4 and 5)"),),
            copy=True,
            hub=False,
        ),
        Terms(
            "deepseek-api",
            "DeepSeek Open Platform Terms of Service",
            "https://cdn.deepseek.com/policies/en-US/deepseek-open-platform-terms-of-service.html",
            hub=False,
        ),
        Terms(
            "openai-terms",
            "OpenAI's terms of use",
            "https://openai.com/policies/terms-of-use",
            outputs="forbidden",
            learnt=("its output may not be used to develop models that compete with OpenAI's (Restrictions)",),
            hub=False,
        ),
        Terms(
            "anthropic-terms",
            "Anthropic's Commercial Terms of Service",
            "https://www.anthropic.com/legal/commercial-terms",
            outputs="forbidden",
            learnt=("it may not be used to train competing models (section D.4, Use Restrictions)",),
            hub=False,
        ),
        Terms(
            "gemini-terms",
            "Gemini API Additional Terms of Service",
            "https://ai.google.dev/gemini-api/terms",
            outputs="forbidden",
            learnt=("it may not be used to develop models that compete with it (Use Restrictions)",),
            hub=False,
        ),
        Terms("own", "the makers' own", "", permissive=True, hub=False),
    )
}
"""By id. `own`, in a recipe, says that the makers of the release have all rights themselves."""

_CC = re.compile(r"cc-by(-nc)?(-sa|-nd)?-([123]\.0|2\.5|4\.0)")

_DEEPSEEK, _ANY_HOST = r"(?:deepseek-ai/|deepseek/)?", r"(?::free)?"
MODELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_DEEPSEEK + r"deepseek-r1-distill-qwen-(1\.5b|7b|14b|32b)" + _ANY_HOST, ("mit", "apache-2.0")),
    (_DEEPSEEK + r"deepseek-r1-distill-llama-8b" + _ANY_HOST, ("mit", "llama3.1")),
    (_DEEPSEEK + r"deepseek-r1-distill-llama-70b" + _ANY_HOST, ("mit", "llama3.3")),
    (_DEEPSEEK + r"deepseek-r1-0528-qwen3-8b" + _ANY_HOST, ("mit", "apache-2.0")),
    (_DEEPSEEK + r"deepseek-r1(-zero|-0528)?" + _ANY_HOST, ("mit",)),
    (r"deepseek-ai/deepseek-v3-0324|deepseek-ai/deepseek-v3\.[12](-.+)?", ("mit",)),
    (r"deepseek-ai/deepseek-v3(-base)?", ("deepseek",)),
    (r"deepseek-(reasoner|chat)", ("deepseek-api",)),
    (r"qwen/qwen2\.5-(coder-)?3b(-instruct)?", ("qwen-research",)),
    (r"qwen/qwen2\.5-(math-)?72b(-instruct)?", ("qwen",)),
    (r"qwen/qwen2\.5-(0\.5b|1\.5b|7b|14b|32b)(-instruct)?(-1m)?", ("apache-2.0",)),
    (r"qwen/qwen2\.5-math-(1\.5b|7b)(-instruct)?", ("apache-2.0",)),
    (r"qwen/qwen2\.5-coder-(0\.5b|1\.5b|7b|14b|32b)(-instruct)?", ("apache-2.0",)),
    (r"qwen/qwen3-[\d.]+b(-a[\d.]+b)?(-base|-instruct-2507|-thinking-2507)?", ("apache-2.0",)),
    (r"qwen/qwq-32b(-preview)?", ("apache-2.0",)),
    (r"meta-llama/(meta-)?llama-3\.1-.+", ("llama3.1",)),
    (r"meta-llama/llama-3\.2-.+", ("llama3.2",)),
    (r"meta-llama/llama-3\.3-.+", ("llama3.3",)),
    (r"meta-llama/llama-4-.+", ("llama4",)),
    (r"meta-llama/meta-llama-3-.+", ("llama3",)),
    (r"meta-llama/llama-2-.+", ("llama2",)),
    (r"google/gemma-4-.+", ("apache-2.0",)),
    (r"google/gemma-(1\.1-|2-|3-|3n-)?\w+(-it|-pt)?", ("gemma",)),
    (r"mistralai/(mistral-7b|mixtral-8x(7b|22b))-(instruct-)?v0\.\d", ("apache-2.0",)),
    (r"mistralai/(mistral-nemo-(base|instruct)-2407|mistral-small-24b-(base|instruct)-2501)", ("apache-2.0",)),
    (r"mistralai/(mistral-small-3\.\d|magistral-small)-.+", ("apache-2.0",)),
    (r"microsoft/phi-(2|3-.+|3\.5-.+|4|4-mini-.+|4-reasoning.*)", ("mit",)),
    (r"huggingfacetb/smollm[23]-.+", ("apache-2.0",)),
    (r"openai/gpt-oss-(20b|120b)" + _ANY_HOST, ("apache-2.0",)),
    (r"(openai/|azure/)?(gpt-[3-9]|chatgpt|o[1345](-|$)).*", ("openai-terms",)),
    (r"((\w+\.)?anthropic[./])?claude.*", ("anthropic-terms",)),
    (r"(google/|models/)?gemini-.*", ("gemini-terms",)),
    (r"bundled:.*", ("apache-2.0",)),
)
"""Models' names, in small letters and in whole, to their licences: those of the repositories, and for R1-Distill those
of the models that it was made from, too (README of deepseek-ai/DeepSeek-R1, section License). The first that fits."""

HOSTS: dict[str, str] = {
    "api.openai.com": "openai-terms",
    "openai.azure.com": "openai-terms",
    "api.anthropic.com": "anthropic-terms",
    "generativelanguage.googleapis.com": "gemini-terms",
    "api.deepseek.com": "deepseek-api",
}
"""Providers whose own terms hold for whatever they answer."""

DATASETS: dict[str, str] = {
    "open-r1/openr1-math-220k": "apache-2.0",
    "open-thoughts/openthoughts-114k": "apache-2.0",
    "open-thoughts/openthoughts2-1m": "apache-2.0",
    "open-thoughts/openthoughts3-1.2m": "apache-2.0",
    "ai-mo/numinamath-cot": "apache-2.0",
    "ai-mo/numinamath-1.5": "apache-2.0",
    "agentica-org/deepscaler-preview-dataset": "mit",
    "nvidia/openmathreasoning": "cc-by-4.0",
    "openai/gsm8k": "mit",
    "k-and-k/knights-and-knaves": "cc-by-nc-sa-4.0",
    "eleutherai/hendrycks_math": "mit",
    "hendrycks/competition_math": "mit",
}
"""Hub data sets, in small letters, by the licence that their cards state."""


def terms(name: str) -> Terms | None:
    """The terms of a licence's id, or None for one whose rules are not known here."""
    wanted = name.strip().lower()
    found = _CC.fullmatch(wanted)
    return TERMS.get(wanted) if found is None else _creative_commons(wanted, *found.groups())


def of_model(name: str) -> tuple[Terms, ...]:
    """What a model is under; nothing where it is not known."""
    for pattern, ids in MODELS:
        if re.fullmatch(pattern, name.strip().lower()):
            return tuple(TERMS[id_] for id_ in ids)
    return ()


def of_host(host: str) -> tuple[Terms, ...]:
    """What a provider's own terms are; nothing where it has none that hold for its answers, or they are not known."""
    return tuple(TERMS[id_] for known, id_ in HOSTS.items() if host == known or host.endswith(f".{known}"))


def of_dataset(name: str) -> tuple[Terms, ...]:
    """What a Hub data set is under; nothing where it is not known."""
    found = terms(DATASETS.get(name.strip().lower(), ""))
    return () if found is None else (found,)


def _creative_commons(id_: str, nc: str | None, more: str | None, version: str) -> Terms:
    """Creative Commons (creativecommons.org/licenses): attribution 3(a), no adaptation shared under ND 2(a)(1), the
    same licence for adaptations under SA 3(b), no commercial purpose under NC 2(a)(1); sections of version 4.0."""
    name = f"CC BY{'-NC' if nc else ''}{(more or '').upper()} {version}"
    learnt = [
        f"Name the work and its makers, its licence, and what was changed ({name}, section 3(a)): this card does."
    ]
    if nc:
        learnt.append(f"Use it for no commercial purpose ({name}, section 2(a)(1)).")
    if more == "-sa":
        learnt.append(f"Pass it on under the same licence alone ({name}, section 3(b)).")
    if more == "-nd":
        learnt = [f"what is made from it may not be shared ({name}, section 2(a)(1))"]
    return Terms(
        id_,
        name,
        f"https://creativecommons.org/licenses/{id_.removeprefix('cc-').removesuffix(f'-{version}')}/{version}/",
        outputs="forbidden" if more == "-nd" else "binds" if nc or more else "asks",
        duties=tuple(learnt),
        learnt=tuple(learnt),
        permissive=not (nc or more),
        commercial=not nc,
        share_alike=more == "-sa",
    )
