import pytest

from metalearn_edu.study import Grid, run_study
from tests.study.small_studies import TINY, small


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(Grid(**TINY), folder, n_jobs=1, progress=False)


@pytest.fixture(scope="session")
def smallest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smallest")
    return folder, small(folder)
