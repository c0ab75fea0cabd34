"""What k answers are worth: by hand, by the papers' formulas, and on what R1 and its distilled models really said."""

import json
import random
import signal
from itertools import combinations
from statistics import fmean

import pytest

from distill import think
from distill.answers import reference_answer
from distill.curate.verify import VerifierPool
from distill.records import Completion, Judgement, Problem
from evals import benchmarks, metrics, scoring, votes
from evals.metrics import RIGHT, UNFINISHED, UNVERIFIED, WRONG, Mark

CIRCLE = "so we add the two numbers and get the same again, " * 40


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(2, timeout_s=60) as verifier:
        yield verifier


def packed(text, opened=False):
    thought = think.split(text, opened=opened)
    finish = "stop" if thought.closed else "length"
    completion = Completion(thought.reasoning, thought.answer, finish, None, None, "m", thought.clean)
    return scoring.pack(completion)


def scored(verifier, asked):
    """Each problem's metrics, from (problem, texts)."""
    docs = [benchmarks.document(problem) for problem, _ in asked]
    marks = scoring.judge_with(verifier)([texts for _, texts in asked], docs)
    return [scoring.count_marks(doc, [row]) for doc, row in zip(docs, marks, strict=True)]


def means(found):
    return {name: fmean(row[name] for row in found) for name in metrics.METRICS}


def exact(answers):
    return [Judgement(metrics.said(text) == metrics.plain(problem.answer)) for problem, text in answers]


def marks(*pairs):
    return [Mark(mark, said) for mark, said in pairs]


@pytest.mark.parametrize(("n", "right"), [(1, 0), (1, 1), (4, 0), (4, 1), (5, 3), (6, 6), (8, 2)])
def test_pass_at_j_is_the_share_of_draws_that_hold_a_right_one(n, right):
    for j in range(1, n + 1):
        draws = list(combinations(range(n), j))
        expected = sum(any(one < right for one in draw) for draw in draws) / len(draws)
        assert metrics.pass_at(n, right, j) == pytest.approx(expected)
    assert metrics.pass_at(n, right, 1) == pytest.approx(right / n)
    assert metrics.pass_at(n, right, n) == float(right > 0)


@pytest.mark.parametrize(("n", "right", "j"), [(4, 5, 1), (4, -1, 1), (4, 1, 5), (4, 1, 0)])
def test_pass_at_j_of_nonsense_is_an_error(n, right, j):
    with pytest.raises(ValueError, match="not defined"):
        metrics.pass_at(n, right, j)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(RIGHT, ""), (RIGHT, ""), (WRONG, "3")], 1),
        ([(RIGHT, ""), (WRONG, "3"), (WRONG, "3")], 0),
        ([(RIGHT, ""), (WRONG, "3")], 1 / 2),
        ([(RIGHT, ""), (WRONG, "3"), (WRONG, "4")], 1 / 3),
        ([(RIGHT, ""), (RIGHT, ""), (WRONG, "3"), (WRONG, "3"), (WRONG, "4")], 1 / 2),
        ([(RIGHT, ""), (UNFINISHED, ""), (UNFINISHED, ""), (UNFINISHED, "")], 1),
        ([(RIGHT, ""), (WRONG, ""), (WRONG, "")], 1),  # they finished and said nothing
        ([(RIGHT, ""), (UNVERIFIED, "x"), (UNVERIFIED, "x")], 0),
        ([(UNFINISHED, "")] * 3, 0),
    ],
)
def test_the_majority(said, expected):
    found = marks(*said)
    assert metrics.cons_at(found) == pytest.approx(expected)
    random.Random(1).shuffle(found)
    assert metrics.cons_at(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    "same",
    [
        ("0.5", r"\frac{1}{2}", r"\dfrac12"[:6] + "{1}{2}", "1/2", " .50 ", "$0.5$"),
        ("1,000", "1000", r"1{,}000", "1000.0", "+1000", "1000."),
        ("(B)", "b", "B.", r"\text{(B)}", "[b]", "B)"),
        (r"\text{Yes}", "yes", "Yes."),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\dfrac{\pi}{2})"),
    ],
)
def test_one_answer_in_several_ways(same):
    assert len({metrics.plain(text) for text in same}) == 1


def test_other_answers_stay_apart_and_hostile_ones_do_no_harm():
    texts = [
        "1",
        "-1",
        "10",
        "1, 000, 5",
        "(1,2)",
        "[1,2)",
        "x",
        "yes",
        "no",
        "1/0",
        "9" * 5000,
        "9" * 5001,
    ]
    assert len({metrics.plain(text) for text in texts}) == len(texts)
    assert metrics.said("first \\boxed{3}, no: $\\boxed{4}$") == "4"
    assert metrics.said("so\nthe answer is 7.") == "theansweris7"
    assert metrics.said("") == ""


def test_each_metric_by_hand():
    problem = Problem.of("What is 1 + 1?", "2", "math", "t")
    texts = [
        "<think>add</think>\\boxed{2}",
        "<think>add</think>It is 2.",  # unboxed; this verifier calls it wrong
        f"<think>{CIRCLE}",  # unfinished, and in a circle
        "<think>a</think><think>b</think>\\boxed{3}",  # broken tags
    ]
    [found] = scored(exact, [(problem, [packed(text) for text in texts])])
    assert found == {
        "avg_at_k": 0.25,
        "pass_at_k": 1.0,
        "cons_at_k": pytest.approx(1 / 3),
        "unfinished": 0.25,
        "unverified": 0.0,
        "repetition": 0.25,
        "unboxed": pytest.approx(2 / 3),  # of the three that finished
    }
    assert tuple(found) == metrics.METRICS


def test_an_unfinished_answer_is_never_judged_and_a_lost_judgement_is_an_error():
    problem = Problem.of("?", "2", "math", "t")
    cut = scoring.pack(Completion("hm", "\\boxed{2}", "length", 1, 1, "m"))
    asked = []

    def verifier(answers):
        asked.extend(answers)
        return exact(answers)

    [found] = scored(verifier, [(problem, [cut, packed("a</think>\\boxed{2}")])])
    assert len(asked) == 1 and found["unfinished"] == 0.5 and found["avg_at_k"] == 0.5
    with pytest.raises(ValueError):
        scored(lambda answers: [], [(problem, [packed("a</think>\\boxed{2}")])])
    with pytest.raises(ValueError):
        metrics.measure([])


def test_long_answers_vote_apart_and_are_not_kept_twice():
    problem = Problem.of("?", "2", "math", "t")
    texts = [packed(f"a</think>{'so ' * 5000}{end}") for end in "xxy"]
    docs = [benchmarks.document(problem)]
    [row] = scoring.judge_with(exact)([texts], docs)
    said = [Mark.load(text).said for text in row]
    assert said[0] == said[1] != said[2] and max(map(len, said)) < 150


def test_marks_survive_the_samples_file():
    mark = Mark(WRONG, "½ “x”", True, True)
    assert Mark.load(json.loads(json.dumps(str(mark.dump())))) == mark


@pytest.mark.parametrize("kind", ["avg_at_k", "pass_at_k"])
def test_lightevals_own_cases(shared_data, pool, kind):
    suite = json.loads((shared_data / "answer_verify" / f"lighteval_{kind}_math.json").read_text())
    for case in suite["test_cases"]:
        doc, [expected] = case["doc"], case["expected_output"].values()
        problem = Problem.of(doc["query"], doc["choices"][doc["gold_index"]], "math", "lighteval")
        texts = case["model_response"]["text"]
        [found] = scored(pool, [(problem, [packed(text) for text in texts])])
        right = round(found["avg_at_k"] * len(texts))
        got = found[kind] if kind == "avg_at_k" else metrics.pass_at(len(texts), right, case["metric_params"]["k"])
        assert got == pytest.approx(expected, abs=case["tolerance"]), case["name"]


def recorded(shared_data, name, field, questions=None):
    rows = json.loads((shared_data / "r1_mip_gsm8k_math" / f"{name}.json").read_text())
    asked = questions or [row["question"] for row in rows]
    return [
        (Problem.of(question, reference_answer(row["answer"]), "math", "recorded"), [packed(row[field])])
        for question, row in zip(asked, rows, strict=True)
    ]


def test_recorded_finals_on_gsm8k(shared_data, pool):
    r1 = recorded(shared_data, "gsm8k_normal_deepseekR1", "deepseek-reasoner (question)")
    student = recorded(shared_data, "gsm8k_normal_DSQ", "model_answer")
    for asked, right, unboxed in ((r1, 551, 65), (student, 557, 2)):
        found = means(scored(pool, asked))
        assert found["avg_at_k"] == pytest.approx(right / 582)  # a grader of last numbers says 553 and 557
        assert found["unboxed"] == pytest.approx(unboxed / 582)
        assert found["avg_at_k"] == found["pass_at_k"] == found["cons_at_k"]
        assert found["unfinished"] == found["unverified"] == 0
        assert found["repetition"] < 0.002
    texts = {problem.id: said for problem, said in student}
    found = means(scored(pool, [(problem, said + texts[problem.id]) for problem, said in r1]))
    assert found["avg_at_k"] == pytest.approx((551 + 557) / 2 / 582)
    assert found["pass_at_k"] == pytest.approx(569 / 582)


def test_recorded_finals_on_math(shared_data, pool):
    r1 = recorded(shared_data, "math_normal_deepseekR1", "deepseek-reasoner (question)")
    student = recorded(shared_data, "math_normal_DSQ", "model_answer", [problem.prompt for problem, _ in r1])
    assert means(scored(pool, r1))["avg_at_k"] == pytest.approx(50 / 52)
    assert means(scored(pool, student))["avg_at_k"] == pytest.approx(49 / 52)


@pytest.mark.parametrize(
    ("name", "right", "of", "unfinished"),
    [
        ("math500_deepseek_r1", 18, 20, 0),
        ("pilot_math500_r1", 9, 10, 0),
        ("pilot_math500_qwen7b", 17, 20, 1),
        ("pilot_math500_llama8b", 16, 20, 0),
    ],
)
def test_recorded_traces_on_math500(shared_data, pool, name, right, of, unfinished):
    lines = (shared_data / "r1_math500_traces" / f"{name}.jsonl").read_text().splitlines()
    opened = name.endswith(("qwen7b", "llama8b"))
    asked = [
        (Problem.of(row["problem"], row["ground_truth"], "math", "m"), [packed(row["full_response"], opened)])
        for row in map(json.loads, lines)
    ]
    found = means(scored(pool, asked))
    assert found["avg_at_k"] == pytest.approx(right / of)
    assert found["unfinished"] == pytest.approx(unfinished / of)
    assert found["unverified"] == 0


def by_itself(problem, *texts, opened=False):
    return scoring.process_results({**benchmarks.document(problem), "opened": opened}, [list(texts)])


def test_the_yaml_tasks_own_scoring_gives_the_same_names():
    problem = Problem.of("?", "2", "math", "t")
    found = by_itself(problem, "<think>2</think>\\boxed{2}", "<think>\\boxed{2}", "x</think>\\boxed{3}", "x</think>2")
    assert tuple(found) == metrics.METRICS
    assert (found["avg_at_k"], found["pass_at_k"], found["cons_at_k"]) == (0.5, 1.0, 1.0)
    assert (found["unfinished"], found["unverified"], found["unboxed"]) == (0.25, 0.0, pytest.approx(1 / 3))
    bare = "so it is \\boxed{2}"
    assert by_itself(problem, bare)["avg_at_k"] == 1
    assert by_itself(problem, bare, opened=True) | {"avg_at_k": 0, "unfinished": 1} == by_itself(
        problem, bare, opened=True
    )


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("(B)", "\\boxed{B}", 1),
        ("(B)", "\\boxed{(B) Frankenstein}", 1),
        ("(B)", "\\boxed{\\text{B: Frankenstein}}", 1),
        ("(B)", "\\boxed{C}", 0),
        ("(B)", "\\boxed{Ulysses}", 0),
        ("(B)", "The answer is (B).", 1),
        ("(B)", "\\boxed{(B) or (C)}", 0),
    ],
)
def test_options_by_the_yaml_tasks_alone(answer, text, right):
    assert by_itself(Problem.of("?", answer, "choice", "t"), f"a</think>{text}")["avg_at_k"] == right


OPTIONS = Problem.of("Which?\n\n(A) Iron\n(B) Lead is heavy\n(C) Gold", "(B)", "choice", "t")
WORD = Problem.of("Do you return?", "No", "text", "t")
KNIGHTS = Problem.of("Who?", "x", "rule", "t", rule="knights_knaves", solution={"Al": True, "Bo": False})


@pytest.mark.parametrize(
    ("problem", "alike"),
    [
        (OPTIONS, ["\\boxed{C}", "\\boxed{(C) Gold}", "\\boxed{\\text{Gold}}", "**C**", "The answer is (C)."]),
        (OPTIONS, ["\\boxed{B: Lead is heavy}", "\\boxed{Option B}", "\\boxed{Lead is heavy}", "Answer: B"]),
        (WORD, ["\\boxed{Yes}", "\\boxed{Yes, you return}", "yes."]),
        (
            KNIGHTS,
            ["\\boxed{\\text{Al is a knave, Bo is a knight}}", "Al: knave\n- **Bo**: Knight", "Al=knave, Bo=knight"],
        ),
    ],
)
def test_the_same_answer_in_other_words_is_one_vote(problem, alike):
    """Were wrong answers told apart by their form, the right ones, which are one group, would win too often."""
    assert len({votes.vote(problem, text) for text in alike}) == 1
    wrong = [packed(f"a</think>{text}") for text in alike]
    right = [packed("a</think>\\boxed{right}")] * (len(alike) - 1)
    judges = [Judgement(True)] * len(right) + [Judgement(False)] * len(wrong)
    [found] = scored(lambda answers: judges, [(problem, right + wrong)])
    assert found["cons_at_k"] == 0


def test_other_answers_are_other_votes():
    assert len({votes.vote(OPTIONS, text) for text in ("A", "B", "C", "A or B", "(A), (B)", "\\boxed{lead}")}) == 6
    assert len({votes.vote(WORD, text) for text in ("yes", "no", "yes/no", "not sure")}) == 4
    assert len({metrics.plain(text) for text in ("1 2", "12", "1,2")}) == 3


@pytest.mark.parametrize("text", ["*" * 99_000, "the" * 30_000, "Al is " * 20_000, "\\text{" * 20_000, "(" * 99_000])
def test_hostile_answers_end(text):
    """A pattern that is quadratic takes minutes here, and linear ones a moment: the limit is far from both."""

    def over(signum, frame):
        raise AssertionError("a hostile answer takes a minute")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(60)
    try:
        for problem in (OPTIONS, WORD, KNIGHTS):
            for answer in (text, f"\\boxed{{{text}}}"):
                assert isinstance(votes.vote(problem, answer), str)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_rules_by_the_yaml_tasks_alone():
    knights = Problem.of("?", "x", "rule", "t", rule="knights_knaves", solution={"Al": True, "Bo (II)": False})
    texts = ["Al is a knight. Bo (II) is a knave.", "Al is a knight, Bo (II) is a knight", "Only Bo (II) lies"]
    found = by_itself(knights, *(f"a</think>\\boxed{{{text}}}" for text in texts))
    assert (found["avg_at_k"], found["unverified"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    other = Problem.of("?", "x", "rule", "t", rule="reasoning_gym", family="chain_sum", seed=1, config={})
    assert by_itself(other, "a</think>\\boxed{1}")["unverified"] == 1
