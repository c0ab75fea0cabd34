"""Rule and judge together: who is asked, and what follows, in every combination."""

from itertools import product

import pytest

from distill.curate.judge import verdict, wanted
from distill.records import Judgement, Ruling, Verdict

RULES = (Judgement(True, "same"), Judgement(False, "4 is not 5"), Judgement(None, "took too long"))
RULINGS = (
    None,
    Ruling("m", True, "1 right of 1 vote"),
    Ruling("m", False, "1 wrong of 1 vote"),
    Ruling("m", None, "cannot tell: 1 unclear of 1 vote"),
    Ruling("m", None, "1 failed of 1 vote; HTTP500: no"),
)
GOOD, FAILED = "good", "judge_failed"
BAD, OPEN = "wrong_answer", "unverifiable"
TABLE = {  # by the rule's word; then the judge was not asked, says right, says wrong, cannot tell, failed
    ("undecided", True): (GOOD, GOOD, GOOD, GOOD, GOOD),
    ("undecided", False): (BAD, BAD, BAD, BAD, BAD),
    ("undecided", None): (OPEN, GOOD, BAD, OPEN, FAILED),
    ("rescue", True): (GOOD, GOOD, GOOD, GOOD, GOOD),
    ("rescue", False): (BAD, GOOD, BAD, BAD, FAILED),
    ("rescue", None): (OPEN, GOOD, BAD, OPEN, FAILED),
    ("agree", True): (OPEN, GOOD, BAD, OPEN, FAILED),
    ("agree", False): (BAD, BAD, BAD, BAD, BAD),
    ("agree", None): (OPEN, OPEN, OPEN, OPEN, OPEN),
}


@pytest.mark.parametrize(
    ("combine", "rule", "at"), list(product(("undecided", "rescue", "agree"), RULES, range(len(RULINGS))))
)
def test_every_combination_of_rule_and_judge(combine: str, rule: Judgement, at: int) -> None:
    found, expected = verdict(combine, rule, RULINGS[at]), TABLE[combine, rule.right][at]
    assert (GOOD if found is None else found.reason) == expected
    assert found is None or (not found.keep and found.detail)


def test_who_is_asked() -> None:
    asked = {combine: [wanted(combine, rule) for rule in RULES] for combine in ("undecided", "rescue", "agree")}
    assert asked == {
        "undecided": [False, False, True],
        "rescue": [False, True, True],
        "agree": [True, False, False],
    }
    with pytest.raises(KeyError):
        wanted("both", RULES[0])


def test_a_verdict_says_whose_word_it_is() -> None:
    right, wrong, open_ = RULES
    assert verdict("undecided", open_, RULINGS[2]) == Verdict(False, "wrong_answer", "m: 1 wrong of 1 vote")
    assert verdict("rescue", wrong, RULINGS[3]) == Verdict(False, "wrong_answer", "4 is not 5")
    assert verdict("rescue", wrong, RULINGS[4]) == Verdict(False, FAILED, "m: 1 failed of 1 vote; HTTP500: no")
    assert verdict("undecided", open_, RULINGS[3]) == Verdict(
        False, "unverifiable", "took too long; m: cannot tell: 1 unclear of 1 vote"
    )
    assert verdict("agree", right, None) == Verdict(False, "unverifiable", "same; no judge was asked")
