"""An installed package has all that it needs, with no checkout beside it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

import course
import metalearn_edu

FILES = ("pyproject.toml", "README.md", "LICENSE", "metalearn_edu")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that holds the package as a wheel brings it, and nothing else of the course."""
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("building a wheel needs setuptools and pip: python -m ensurepip brings pip")
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in FILES:
        copy = shutil.copytree if (course.ROOT / name).is_dir() else shutil.copy
        copy(course.ROOT / name, folder / "source" / name)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    command = [sys.executable, "-m", "pip", *words, folder, folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder / "site")
    return folder / "site"


def run(site, *words):
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=site.parent, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_stored_study_and_the_weights_are_there(site):
    code = (
        "import metalearn_edu as m\n"
        "from metalearn_edu.pretrained import list_pretrained, load_pretrained\n"
        "print(m.__file__)\n"
        "print(len(m.load_study().rows), m.select_meta_learning_algorithm(1000, 5, 1).place)\n"
        "print(*list_pretrained())\n"
        "for name in list_pretrained():\n"
        "    load_pretrained(name)\n"
    )
    where, study, names = run(site, "-c", code).splitlines()
    assert where.startswith(str(site)) and study == "432 measured"
    assert names.split() == [
        folder.name
        for folder in sorted((course.ROOT / "metalearn_edu" / "pretrained").iterdir())
        if (folder / "card.json").is_file()
    ]


def test_the_command_line_answers(site):
    code = "from metalearn_edu.cli import main; main(['--version'])"
    assert run(site, "-c", code) == f"metalearn-edu {metalearn_edu.__version__}\n"


def test_every_data_file_of_the_package_is_there(site):
    def data(folder):
        files = (f for f in (folder / "metalearn_edu").rglob("*") if f.is_file())
        return {str(f.relative_to(folder)) for f in files if "__pycache__" not in f.parts}

    assert data(site) == data(course.ROOT)


def test_jupyter_finds_its_extension_and_its_template(site):
    (share,) = site.glob("*.data/data/share/jupyter")
    assert (share / "nbconvert" / "templates" / "metalearn_edu" / "index.html.j2").is_file()
    found = share / "labextensions" / "metalearn-edu"
    package = json.loads((found / "package.json").read_text(encoding="utf-8"))
    assert (found / package["jupyterlab"]["_build"]["load"]).is_file()
