"""A rule is right where its choice is not really worse."""

from itertools import product

import pytest

from metalearn_edu.study import judge_rule, rule_of_thumb
from tests.made_up_study import PLANES, SHOTS, WAYS, made_up, truth

STUDY = made_up()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((100, 5, 1), "prototypical"),
        ((9999, 5, 4), "prototypical"),
        ((999, 5, 5), "relation"),
        ((1000, 5, 5), "maml"),
    ],
)
def test_the_rule_of_thumb(arguments, name):
    assert rule_of_thumb(*arguments) == name


def test_a_rule_is_right_where_its_choice_is_not_really_worse():
    record = judge_rule(lambda size, way, shot: "prototypical", STUDY)
    assert len(record.verdicts) == 12
    for v in record.verdicts:
        cell = v.n_classes, v.n_way, v.n_shot
        best = max(PLANES, key=lambda name: truth(name, *cell))
        assert v.best == best and v.is_right == (best == "prototypical")
        assert v.loss == pytest.approx(truth(best, *cell) - truth("prototypical", *cell), abs=1e-3)
    assert record.n_best == record.n_right  # luck is common to all here, every gap is sure
    assert 0 < record.n_right < 12 and f"right in {record.n_right} of 12 cells" in str(record)
    assert judge_rule(lambda *_: "mann", STUDY).n_right == 0
    with pytest.raises(ValueError, match="names 'relation'; the study has prototypical"):
        judge_rule(lambda *_: "relation", STUDY)


def test_what_is_no_rule_or_no_study_is_refused():
    with pytest.raises(ValueError, match=r"rule must be a function of \(dataset_size"):
        judge_rule("maml", STUDY)
    with pytest.raises(ValueError, match=r"the rule names \['maml'\]; the study has"):
        judge_rule(lambda *_: ["maml"], STUDY)
    with pytest.raises(ValueError, match="study must be a Study"):
        judge_rule(study=[])


def test_the_rule_is_told_the_number_of_images():
    asked = []

    def rule(dataset_size, n_way, n_shot):
        asked.append((dataset_size, n_way, n_shot))
        return "maml"

    judge_rule(rule, STUDY)
    assert set(asked) == set(product((1000, 4000, 16_000), WAYS, SHOTS))
