"""What opens the gate, and what does not."""

import dataclasses
import random

import pytest

from distill.gate_sections import Gate, GateTask, Waiver
from distill.records import Score
from evals.gate import decided, judge, unmatched_waivers
from evals.sequential import looks

MATH, LOGIC = "distill_gsm8k", "distill_bbh_logic"


def gate(settings=None, **math):
    tasks = (GateTask(task=MATH, **(math or {"min": 0.7})), GateTask(task=LOGIC, min=0.1))
    return Gate(tasks=tasks, **(settings or {}))


def score(task, right, of=400, **changes):
    by_problem = {str(at): 1.0 if at < right else 0.0 for at in range(of)}
    value = right / of if of else 0.0
    domain = "math" if task == MATH else "logic"
    plain = Score(task, domain, "avg@1", value, 0.02, of, 1, 0.0, by_problem, False)
    return dataclasses.replace(plain, **changes)


def report(math, section=None, base=(), variant="bf16", contaminated=None, **others):
    scores = [math, score(LOGIC, 300)]
    baselines = {"base": list(base), **others}
    kept = [item for item in scores if item]
    return judge(section or gate(), "ckpt", variant, kept, baselines, contaminated=contaminated)


def check(said, term, task=MATH):
    return next(check for check in said.checks if check.task == task and check.term == term)


def in_rounds(task, chance, asked, of=1000, **changes):
    """A score that was asked in rounds as far as `asked`; `chance` is that of a problem to be right."""
    draw = random.Random(11)
    names = Score.order(str(at) for at in range(of))
    values = {name: float(draw.random() < chance) for name in names}
    by_problem = {name: values[name] for name in sorted(names[:asked])}  # as it comes back from disk
    ends = tuple(end for end in looks(of) if end <= asked)
    value = sum(by_problem.values()) / asked
    plain = score(task, 0, of=asked, value=value, by_problem=by_problem, looks=ends, planned=of)
    return dataclasses.replace(plain, **changes)


def outcome(said, term, task=MATH):
    return check(said, term, task).outcome


@pytest.mark.parametrize(
    ("right", "expected"), [(280, "undecided"), (360, "pass"), (200, "fail"), (290, "undecided"), (270, "undecided")]
)
def test_floor(right, expected):
    said = report(score(MATH, right))
    assert outcome(said, "floor") == expected
    assert said.passed == (expected == "pass")


@pytest.mark.parametrize("math", [None, score(MATH, 0, of=0)])
def test_a_task_without_a_score_is_undecided(math):
    said = report(math)
    assert outcome(said, "score") == "undecided" and not said.passed


def test_no_scores_at_all_do_not_pass():
    assert not judge(gate(), "ckpt", "bf16", [], {}).passed


def test_smoke_never_passes_and_says_why():
    said = report(score(MATH, 400, smoke=True))
    assert not said.passed and said.smoke
    assert outcome(said, "complete") == "undecided"


def test_without_the_logic_domain_nothing_passes():
    said = judge(gate(), "ckpt", "bf16", [score(MATH, 400)], {})
    assert not said.passed and outcome(said, "score", LOGIC) == "undecided"


@pytest.mark.parametrize(
    ("right", "limit", "expected"),
    [(300, 0.01, "pass"), (299, 0.0, "undecided"), (200, 0.01, "fail"), (290, 0.03, "undecided"), (340, 0.0, "pass")],
)
def test_drop_is_paired(right, limit, expected):
    said = report(score(MATH, right), gate(max_drop=limit), [score(MATH, 300)])
    assert outcome(said, "drop") == expected


@pytest.mark.parametrize("base", [[], [score(MATH, 300, of=399)], [score(MATH, 0, of=0)]])
def test_drop_without_the_same_base_is_undecided(base):
    assert outcome(report(score(MATH, 400), gate(max_drop=0.5), base), "drop") == "undecided"


def test_too_many_unfinished_fail():
    said = report(score(MATH, 400, unfinished=0.051))
    assert outcome(said, "unfinished") == "fail" and not said.passed
    assert report(score(MATH, 400, unfinished=0.05)).passed


def test_a_broken_judge_is_undecided_and_never_the_models_zero():
    said = report(score(MATH, 0, unverified=1.0))
    assert {check.outcome for check in said.checks if check.task == MATH} == {"undecided", "pass"}
    assert outcome(said, "floor") == "undecided" and outcome(said, "unverified") == "undecided"
    broken_base = [score(MATH, 10, unverified=0.9)]
    assert outcome(report(score(MATH, 400), gate(max_drop=0.01), broken_base), "drop") == "undecided"


def test_why_is_a_sentence_with_numbers():
    base = [score(MATH, 290, median_tokens=10.0)]
    section = gate({"max_length_ratio": {"base": 1.2}}, min=0.7, max_drop=0.01)
    for check in report(score(MATH, 280, median_tokens=9.0), section, base, contaminated={}).checks:
        assert check.why.endswith(".") and any(letter.isdigit() for letter in check.why)


@pytest.mark.parametrize("outcomes", [(360, "pass"), (200, "fail"), (280, "undecided")])
def test_a_check_has_its_bounds_on_both_sides(outcomes):
    right, expected = outcomes
    found = check(report(score(MATH, right)), "floor")
    assert found.outcome == expected
    assert found.low < found.measured < found.high
    assert found.bound == (found.high if expected == "fail" else found.low)
    assert (found.low >= 0.7) == (expected == "pass") and (found.high < 0.7) == (expected == "fail")


def test_undecided_says_how_many_problems_or_samples_would_decide():
    found = check(report(score(MATH, 290)), "floor")
    assert found.outcome == "undecided" and "problems (it has 400)" in found.why and "one sample of each" in found.why
    assert "A floor of at most 0.68" in found.why
    draw = random.Random(2)
    noisy = {str(at): sum(draw.random() < 0.72 for _ in range(4)) / 4 for at in range(400)}
    sampled = score(MATH, 0, value=sum(noisy.values()) / 400, k_samples=4, by_problem=noisy)
    assert "samples of each (it has 4)" in check(report(sampled), "floor").why
    alike = {str(at): float(at < 290) for at in range(400)}
    agreed = score(MATH, 290, k_samples=4, by_problem=alike)
    assert "no number of samples" in check(report(agreed), "floor").why


def test_on_the_threshold_no_number_decides():
    assert "no number of problems or samples" in check(report(score(MATH, 280)), "floor").why


def test_an_undecided_drop_says_which_limit_would_pass():
    found = check(report(score(MATH, 290), gate(max_drop=0.03), [score(MATH, 300)]), "drop")
    assert found.outcome == "undecided" and "A limit of at least 0.0" in found.why and "would decide it" in found.why
    assert found.low < found.measured < found.high


def test_values_that_cannot_be_are_undecided_and_never_an_error():
    for strange in ({"a": 1.5}, {"a": float("nan")}, {"a": -0.1}):
        said = report(
            score(MATH, 0, by_problem=strange), gate(min=0.0, max_drop=1.0), [score(MATH, 0, by_problem=strange)]
        )
        assert outcome(said, "floor") == "undecided" and not said.passed
    assert outcome(report(score(MATH, 400, looks=(10, 5), planned=400)), "floor") == "undecided"
    assert outcome(report(score(MATH, 400, looks=(10, 400), planned=0)), "floor") == "undecided"


@pytest.mark.parametrize(
    ("field", "term"), [("repetition", "repetition"), ("unboxed", "unboxed"), ("unfinished", "unfinished")]
)
def test_what_is_counted_has_no_bounds(field, term):
    over, under = (check(report(score(MATH, 400, **{field: share})), term) for share in (0.06, 0.05))
    assert (over.outcome, under.outcome) == ("fail", "pass")
    assert over.low == over.high == over.measured == 0.06


def test_length_is_held_against_each_baseline():
    section = gate({"max_length_ratio": {"base": 1.2}})
    base = [score(MATH, 300, median_tokens=100.0), score(LOGIC, 300, median_tokens=100.0)]
    long, short = (report(score(MATH, 400, median_tokens=tokens), section, base) for tokens in (121.0, 120.0))
    assert outcome(long, "length:base") == "fail" and outcome(short, "length:base") == "pass"
    assert check(long, "length:base").measured == pytest.approx(1.21)
    assert outcome(report(score(MATH, 400), section, base), "length:base") == "undecided"
    assert outcome(report(score(MATH, 400, median_tokens=5.0), section, []), "length:base") == "undecided"


def test_contamination_closes_where_it_was_looked_for():
    assert not any(found.term == "contamination" for found in report(score(MATH, 400)).checks)
    found = report(score(MATH, 400), contaminated={MATH: 2})
    assert outcome(found, "contamination") == "fail" and outcome(found, "contamination", LOGIC) == "pass"
    assert not found.passed and report(score(MATH, 400), contaminated={}).passed


def test_the_previous_release_is_a_baseline_of_its_own():
    settings = {"baselines": ("base", "previous"), "previous": "v1"}
    said = report(score(MATH, 340), gate(settings, max_drop=0.05), [score(MATH, 300)], previous=[score(MATH, 390)])
    assert outcome(said, "drop") == "pass" and outcome(said, "drop_previous") == "fail"
    assert "the previous release" in check(said, "drop_previous").why
    unmeasured = report(score(MATH, 340), gate(settings, max_drop=0.05), [score(MATH, 300)])
    assert outcome(unmeasured, "drop_previous") == "undecided"


def test_a_quantized_variant_is_held_against_the_16_bit_model():
    section = gate({"max_variant_drop": 0.02})
    whole = [score(MATH, 390), score(LOGIC, 300)]
    assert not any(found.term == "drop_bf16" for found in report(score(MATH, 390), section).checks)
    same = report(score(MATH, 390), section, variant="nf4", bf16=whole)
    assert outcome(same, "drop_bf16") == "pass" and same.passed
    worse = report(score(MATH, 340), section, variant="nf4", bf16=whole)
    assert outcome(worse, "drop_bf16") == "fail" and outcome(worse, "floor") == "pass" and not worse.passed
    assert outcome(report(score(MATH, 390), section, variant="int8"), "drop_bf16") == "undecided"


def test_rounds_decide_at_the_first_look_that_can():
    section = gate({"until_decided": True}, min=0.7)
    early, late = in_rounds(MATH, 0.9, 200), in_rounds(MATH, 0.9, 1000)
    for asked in (early, late):
        found = check(report(asked, section), "floor")
        assert found.outcome == "pass" and "100 of 1000 problems" in found.why
    assert decided(section, section.tasks[0], early, {})
    assert check(report(early, section), "floor").low == check(report(late, section), "floor").low


def test_rounds_go_on_while_anything_is_open_and_say_so():
    section = gate({"until_decided": True}, min=0.7, max_drop=0.01)
    student = in_rounds(MATH, 0.9, 100)
    base = {"base": [in_rounds(MATH, 0.9, 1000, looks=())]}
    assert not decided(section, section.tasks[0], student, base)
    assert not decided(section, section.tasks[0], student, {})
    assert not decided(section, section.tasks[0], score(MATH, 0, of=0), base)
    whole = report(student, section, base["base"])
    assert outcome(whole, "floor") == "pass"
    assert "other 900 of its 1000 problems" in check(whole, "drop").why
    poor = {"base": [in_rounds(MATH, 0.5, 1000, looks=())]}
    assert decided(section, section.tasks[0], student, poor)


def test_a_drop_in_rounds_takes_the_same_problems_of_the_base():
    section = gate({"until_decided": True}, max_drop=0.02)
    base = in_rounds(MATH, 0.6, 1000, looks=())
    found = check(report(in_rounds(MATH, 0.6, 200), section, [base]), "drop")
    assert found.measured == 0.0, "the same draws: not one problem differs"
    assert "200 of 1000 problems" in found.why or "100 of 1000 problems" in found.why


def test_a_baseline_that_ended_early_is_compared_over_what_it_answered():
    settings = {"baselines": ("base", "previous"), "previous": "v1", "until_decided": True}
    section = gate(settings, max_drop=0.02)
    previous = in_rounds(MATH, 0.9, 100)
    base = [in_rounds(MATH, 0.5, 1000, looks=())]
    student = in_rounds(MATH, 0.9, 350)
    said = report(student, section, base, previous=[previous])
    assert outcome(said, "drop_previous") == "undecided"
    assert "answered only 100 of these problems" in check(said, "drop_previous").why
    assert decided(section, section.tasks[0], student, {"base": base, "previous": [previous]})
    fixed = dataclasses.replace(in_rounds(MATH, 0.9, 1000), looks=())
    assert check(report(fixed, section, base, previous=[previous]), "drop_previous").measured == 0.0
    other = [score(MATH, 90, of=100, by_problem={f"x{at}": 1.0 for at in range(100)}, looks=(100,), planned=1000)]
    assert "only one of the two" in check(report(fixed, section, base, previous=other), "drop_previous").why


def waived(*names, **others):
    waive = tuple(Waiver(check=name, reason="It is known and harmless.", by="ann") for name in names)
    return gate({"waive": waive, **others})


def test_a_waiver_lets_a_check_through_and_keeps_its_outcome():
    said = report(score(MATH, 200), waived(f"{MATH}/floor"))
    found = check(said, "floor")
    assert found.outcome == "fail" and found.waiver == "It is known and harmless. (ann)" and found.open
    assert said.passed
    assert not report(score(MATH, 200, unfinished=0.5), waived(f"{MATH}/floor")).passed


def test_a_waiver_can_be_one_variants():
    section = waived(f"nf4:{MATH}/floor")
    assert report(score(MATH, 200), section, variant="nf4").passed
    assert not report(score(MATH, 200), section, variant="bf16").passed


@pytest.mark.parametrize("math", [None, score(MATH, 400, smoke=True)])
def test_what_was_not_measured_is_never_waived(math):
    said = report(math, waived(f"{MATH}/score", f"{MATH}/complete"))
    assert not said.passed
    assert any("is never waived" in found.why and not found.open for found in said.checks)


def test_a_waiver_that_names_no_check_is_told():
    section = waived(f"{MATH}/floor", "distill_gsm8k/flor", f"nf4:{LOGIC}/floor")
    said = report(score(MATH, 400), section)
    assert unmatched_waivers(section, [said]) == ["distill_gsm8k/flor", f"nf4:{LOGIC}/floor"]
    also = report(score(MATH, 400), section, variant="nf4")
    assert unmatched_waivers(section, [said, also]) == ["distill_gsm8k/flor"]
