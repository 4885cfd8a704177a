"""The files that set the course up agree with each other and with what they promise."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import course
import metalearn_edu

ROOT = course.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {
    "matplotlib-base": "matplotlib",
    "playwright-python": "playwright",
    "pytorch-cpu": "torch",
}
PAGES = ["README.md", "CONTRIBUTING.md"]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(*extras):
    """{name: Requirement} of the course and of the named extras, without itself."""
    lines = PROJECT["dependencies"] + [
        line for extra in extras for line in PROJECT["optional-dependencies"][extra]
    ]
    found = map(Requirement, lines)
    return {canonicalize_name(r.name): r for r in found if r.name != PROJECT["name"]}


def pins():
    lines = [line for line in text("constraints.txt").splitlines() if not line.startswith("#")]
    names, versions = zip(*(line.split("==") for line in lines), strict=True)
    assert list(names) == sorted({canonicalize_name(name) for name in names})
    return dict(zip(names, versions, strict=True))


# --- dependencies ----------------------------------------------------------------------------


def test_every_dependency_has_a_pin_that_its_bound_allows():
    pinned = pins()
    for name, requirement in requirements("test", "bench").items():
        assert requirement.specifier.contains(pinned[name]), requirement


def test_bounds_are_loose():
    for requirement in requirements("test", "bench").values():
        assert [bound.operator for bound in requirement.specifier] == [">="], requirement
        assert requirement.url is None


def test_pins_suit_every_system():
    # a local version such as +cpu exists on Linux only
    assert not [name for name, version in pins().items() if Version(version).local]


def test_conda_gets_the_same_packages_and_bounds():
    lines = re.findall(r"^  - ([\w.-]+)(>=[\w.]+)$", text("environment.yml"), re.M)
    conda = {CONDA_NAMES.get(name, name): bound for name, bound in lines}
    assert conda == {name: str(r.specifier) for name, r in requirements("test").items()}


def test_conda_gets_a_supported_python_and_the_course_itself():
    yml = text("environment.yml")
    (python,) = re.findall(r"^  - python=(.*)$", yml, re.M)
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    assert yml.endswith("  - pip:\n      - -e .\n")


def test_no_folder_hides_environment_yml_from_binder():
    assert not (ROOT / "binder").exists() and not (ROOT / ".binder").exists()


def test_the_installed_versions_are_at_or_above_the_bounds():
    for name, requirement in requirements("test").items():
        assert requirement.specifier.contains(version(name)), requirement


def test_every_file_names_the_same_oldest_python():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert set(
        re.findall(r"version_info < \((\d+, \d+)\)", text("course.py") + text(".ci/run"))
    ) == {oldest.replace(".", ", ")}
    (tested,) = re.findall(r"^ +python: \[(.*)\]", text(".github/workflows/ci.yml"), re.M)
    stated = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert re.findall(r"[\d.]+", tested) == stated
    assert stated[0] == oldest


def test_the_version_is_in_one_place():
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", metalearn_edu.__version__)
    assert f"## {metalearn_edu.__version__}" in text("CHANGELOG.md")


# --- what the pages promise ------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, "Makefile", ".ci/run", ".github/workflows/ci.yml"])
def test_named_commands_exist(page):
    commands = set(re.findall(r"\bcourse\.py ([a-z]+)", text(page)))
    usage = set(re.findall(r"python course\.py ([a-z]+)", course.__doc__))
    assert commands <= usage | {"help"}, page


def test_readme_starts_with_the_two_commands():
    code = re.findall(r"^    (\S.*)$", text("README.md"), re.M)
    assert code[:2] == ["python course.py lab", "python course.py test"]


@pytest.mark.parametrize("page", PAGES)
def test_named_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z ]+):", text("Makefile"), re.M))
    known = {word for target in targets for word in target.split()}
    assert set(re.findall(r"`make ([a-z]+)`", text(page))) <= known


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text(page))
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []


def test_readme_lists_every_lesson():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    listed = set(re.findall(r"^\| \[?(\d\d_\w+)", text("README.md"), re.M))
    assert notebooks <= listed


# --- pytest, CI ------------------------------------------------------------------------------


def collect(*arguments, folder):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_pytest_starts_in_any_folder():
    done = collect("test_lint.py", folder=ROOT / "tests")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_lint.py: 3" in done.stdout or "3 tests collected" in done.stdout


def test_sources_of_lessons_are_no_tests(tmp_path):
    source = tmp_path / "notebooks" / "source"
    source.mkdir(parents=True)
    (source / "05_maml.py").write_text("raise RuntimeError('collected')\n")
    done = collect("-c", str(ROOT / "pyproject.toml"), str(tmp_path), folder=tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout


@pytest.mark.skipif(os.name == "nt", reason="bash and file modes are for Unix")
def test_ci_runs_the_readmes_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "course.py test" in script.read_text()
