"""Which algorithm? A grid of training runs, its table, and what it says."""

from .all_runs import run_study
from .comparisons import Comparison, compare_in_every_cell, real_ones
from .estimates import forecast
from .evidence import evidence
from .grid import Grid, Run
from .one_run import train_and_score
from .recommendation import Recommendation
from .rule import RuleRecord, Verdict, judge_rule, rule_of_thumb
from .selection import select_meta_learning_algorithm
from .table import OVER_TIME, Row, Study, load_study

__all__ = [
    "OVER_TIME",
    "Comparison",
    "Grid",
    "Recommendation",
    "Row",
    "RuleRecord",
    "Run",
    "Study",
    "Verdict",
    "compare_in_every_cell",
    "evidence",
    "forecast",
    "judge_rule",
    "load_study",
    "real_ones",
    "rule_of_thumb",
    "run_study",
    "select_meta_learning_algorithm",
    "train_and_score",
]
