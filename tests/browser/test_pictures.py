"""The pictures in the outputs as JupyterLab shows them: each with its text alternative."""

import nbformat

from tools import build_notebooks as build

NAME = "11_which_algorithm"  # stored pictures by plot functions, and the still of an explorer


def test_stored_pictures_have_their_text_alternative(open_lesson):
    stored = nbformat.read(build.NOTEBOOKS / f"{NAME}.ipynb", as_version=4)
    outputs = [output for cell in build.code_cells(stored) for output in cell.outputs]
    texts = {
        f"data:{build.PNG};base64,{output.data[build.PNG].strip()}": build.alternative(output)
        for output in outputs
        if build.PNG in output.get("data", {})
    }
    lesson = open_lesson(NAME)
    assert lesson.pictures() == texts and all(texts.values())
    assert lesson.console == []
    lesson.close()
