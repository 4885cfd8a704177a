import pytest

from tests.browser import driver


@pytest.fixture(scope="module")
def open_lesson():
    """Opens a lesson by name in one JupyterLab and one browser for all tests of a file."""
    if reason := driver.why_not():
        pytest.skip(reason)
    with driver.jupyterlab() as address, driver.chromium() as browser:
        yield lambda name, **options: driver.Lesson(browser, address, name, **options)
