"""Which algorithm? A grid of training runs, its table, and what it says."""

from .all_runs import run_study
from .estimates import forecast
from .evidence import evidence
from .grid import Grid, Run
from .one_run import train_and_score
from .recommendation import Recommendation
from .rule import RuleRecord, Verdict, judge_rule, rule_of_thumb
from .selection import select_meta_learning_algorithm
from .table import Row, Study, load_study

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
