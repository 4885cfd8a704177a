"""Which algorithm? A grid of trainings, its table, and what it says."""

from .selection import (
    Recommendation,
    RuleRecord,
    Verdict,
    evidence,
    forecast,
    judge_rule,
    rule_of_thumb,
    select_meta_learning_algorithm,
)
from .study import Grid, Row, Run, Study, load_study, run_study, train_and_score

__all__ = [
    "Grid",
    "Recommendation",
    "Row",
    "RuleRecord",
    "Run",
    "Study",
    "Verdict",
    "evidence",
    "forecast",
    "judge_rule",
    "load_study",
    "rule_of_thumb",
    "run_study",
    "select_meta_learning_algorithm",
    "train_and_score",
]
