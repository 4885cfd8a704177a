import json
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import course
from metalearn_edu import checkpoints
from metalearn_edu.basics.files import save_json, save_weights
from metalearn_edu.checkpoints import CheckpointFolder, describe

TENSORS = {
    "learner.weight": torch.arange(6.0).view(2, 3),
    "learner.transposed": torch.arange(6.0).view(2, 3).T,
    "best.weight": torch.full((2, 3), float("inf")),
    "adam.0.step": torch.tensor(7.0),
    "counts": torch.tensor([2**62, -1]),
    "double": torch.rand(3, dtype=torch.float64),
    "empty": torch.zeros(0, 4),
}
HISTORY = {"losses": [0.1 + 0.2, 1e-300], "val_steps": [], "best_step": None}


def folder(path, **settings) -> CheckpointFolder:
    return CheckpointFolder(path, {"seed": 0, "meta_lr": 0.1} | settings)


def names(path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_what_is_saved_comes_back_to_the_last_bit(tmp_path):
    folder(tmp_path / "new" / "run").save(7, TENSORS, HISTORY)
    tensors, history = folder(tmp_path / "new" / "run").load()
    assert history == HISTORY
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_nothing_saved_is_nothing_loaded(tmp_path):
    assert folder(tmp_path).load() is None
    assert folder(tmp_path / "missing").load() is None


def test_only_the_last_state_is_kept(tmp_path):
    for step in (0, 5, 10):
        folder(tmp_path).save(step, TENSORS, HISTORY)
    assert names(tmp_path) == ["state.json", "step-00000010.safetensors"]


HEX = "0123456789abcdef" * 2  # as in the names of half-written files


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / f".step-00000003.safetensors.{HEX}.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    folder(tmp_path).save(4, TENSORS, HISTORY)
    assert names(tmp_path) == ["notes.txt", "state.json", "step-00000004.safetensors"]


@pytest.mark.parametrize("failing", ["save_weights", "save_json"])
def test_a_save_that_fails_leaves_the_last_one_whole(tmp_path, monkeypatch, failing):
    folder(tmp_path).save(1, TENSORS, HISTORY)

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, failing, disk_full)
        with pytest.raises(OSError, match=r"cannot be written .*No space left.*another folder"):
            folder(tmp_path).save(2, TENSORS, HISTORY | {"best_step": 2})
    assert folder(tmp_path).load()[1] == HISTORY


def test_shared_memory_is_stored_twice(tmp_path):
    weight = torch.rand(3)
    save_weights(tmp_path / "w.safetensors", {"one": weight, "other": weight})
    assert torch.equal(load_file(tmp_path / "w.safetensors")["other"], weight)


def test_files_are_as_readable_as_any_other(tmp_path):
    before = os.umask(0o022)
    try:
        folder(tmp_path).save(1, TENSORS, HISTORY)
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_json_is_written_for_people_too(tmp_path):
    save_json(tmp_path / "card.json", {"seed": 0})
    assert (tmp_path / "card.json").read_text() == '{\n  "seed": 0\n}\n'


def test_another_run_is_named_setting_by_setting(tmp_path):
    folder(tmp_path).save(1, TENSORS, HISTORY)
    with pytest.raises(ValueError) as error:
        folder(tmp_path, seed=1, schedule="cosine").load()
    assert "(schedule: None there, cosine here; seed: 0 there, 1 here)" in str(error.value)
    assert str(tmp_path) in str(error.value)


def truncate_tensors(path):
    file = path / "step-00000001.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def garble_tensors(path):
    (path / "step-00000001.safetensors").write_bytes(b"\xff" * 100)


def remove_tensors(path):
    (path / "step-00000001.safetensors").unlink()


def truncate_state(path):
    (path / "state.json").write_text((path / "state.json").read_text()[:-30])


def empty_state(path):
    (path / "state.json").write_text("")


def bytes_for_state(path):
    (path / "state.json").write_bytes(b"\x80\x81")


def list_for_state(path):
    (path / "state.json").write_text("[1, 2]")


def without_history(path):
    state = json.loads((path / "state.json").read_text())
    del state["history"]
    (path / "state.json").write_text(json.dumps(state))


def number_for_history(path):
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"history": 3}))


def other_tensors(path):
    """Sound, of the right names and shapes, and not what was saved."""
    save_weights(path / "step-00000001.safetensors", {name: t + 1 for name, t in TENSORS.items()})


def tensors_outside(path):
    save_weights(path.parent / "step-00000001.safetensors", TENSORS)
    change_state(path, tensors="../step-00000001.safetensors")


def pipe_for_state(path):
    (path / "state.json").unlink()
    os.mkfifo(path / "state.json")


def pipe_for_tensors(path):
    remove_tensors(path)
    os.mkfifo(path / "step-00000001.safetensors")


def deeply_nested_state(path):
    (path / "state.json").write_text("[" * 100_000)


def number_for_tensors(path):
    change_state(path, tensors=3)


def list_for_digest(path):
    change_state(path, digest=[1])


def change_state(path, **fields):
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | fields))


DAMAGES = [
    other_tensors,
    tensors_outside,
    pipe_for_state,
    pipe_for_tensors,
    deeply_nested_state,
    number_for_tensors,
    list_for_digest,
    truncate_tensors,
    garble_tensors,
    remove_tensors,
    truncate_state,
    empty_state,
    bytes_for_state,
    list_for_state,
    without_history,
    number_for_history,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    folder(tmp_path).save(1, TENSORS, HISTORY)
    damage(tmp_path)
    with pytest.raises(ValueError, match=r"is damaged .*; remove it to start afresh") as error:
        folder(tmp_path).load()
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_setting_that_is_missing_is_another_setting(tmp_path):
    folder(tmp_path).save(1, TENSORS, HISTORY)
    with pytest.raises(ValueError, match="is of another run"):
        folder(tmp_path, limit=None).load()
    with pytest.raises(ValueError, match="is of another run"):
        CheckpointFolder(tmp_path, {"seed": 0}).load()


def test_settings_are_compared_as_json_holds_them(tmp_path):
    folder(tmp_path, sizes=(1, 2)).save(1, TENSORS, HISTORY)
    assert folder(tmp_path, sizes=(1, 2)).load() is not None


# ---------------------------------------------------------------- one process at a time

HOLDER = """
import sys
from pathlib import Path
from metalearn_edu.checkpoints import CheckpointFolder
with CheckpointFolder(Path(sys.argv[1]), {}).held():
    print("held", flush=True)
    sys.stdin.readline()
"""


def start_holder(path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=course.ROOT,
    )
    assert child.stdout.readline() == "held\n"
    return child


def test_a_folder_is_held_by_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "PATIENCE", 0.1)
    child = start_holder(tmp_path / "run")
    refused = pytest.raises(
        OSError, match=r"another training is running in .*run; wait for its end"
    )
    with refused, folder(tmp_path / "run").held():
        pytest.fail("held twice")
    child.communicate("\n")
    with folder(tmp_path / "run").held():
        assert names(tmp_path / "run") == [".lock"]
    assert names(tmp_path / "run") == []


def test_who_is_killed_holds_nothing(tmp_path):
    child = start_holder(tmp_path)
    child.kill()
    child.communicate()
    with folder(tmp_path).held():
        pass
    assert names(tmp_path) == []


def test_a_short_training_is_waited_for(tmp_path):
    child = start_holder(tmp_path)
    threading.Timer(0.3, child.communicate, ["\n"]).start()
    with folder(tmp_path).held():
        assert child.poll() is not None or child.wait(5) == 0


# ---------------------------------------------------------------- is it the same setting?


def test_equal_settings_have_equal_descriptions():
    def make():
        return {
            "numbers": (1, 2.5, None, "x", True),
            "tensor": torch.arange(3),
            "array": np.arange(3),
            "set": {"a", "b", "c", "d"},
            "module": nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).eval(),
            "function": lambda x: x in {"p", "q", "r"},
            "method": torch.nn.ReLU().forward,
            "object": object(),
            "slots": Slots(1),
        }

    weights = nn.Linear(2, 2)
    first, second = make(), make()
    for each in (first, second):
        each["module"][0].load_state_dict(weights.state_dict())
    second["module"].train()  # the mode is not a setting
    assert describe(first) == describe(second)


class Slots:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def test_descriptions_are_the_same_in_another_process():
    """Sets of texts have another order there."""
    code = (
        "import torch, torch.nn.functional as F; from metalearn_edu.checkpoints import describe;"
        "print(describe([{'a', 'b', 'c', 'd'}, lambda x: x in {'p', 'q', 'r', 's'}, object(),"
        "F.cross_entropy, torch.nn.MSELoss(), torch.float32]))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=course.ROOT,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }
    assert len(said) == 1


def test_what_refers_to_itself_is_described_too():
    ring = []
    ring.append(ring)
    assert describe(ring) == "[itself]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        ((1, 2), (1, 3)),
        (np.float32(1), np.float32(2)),
        (torch.float32, torch.float64),
        (torch.zeros(2), torch.ones(2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int64)),
        (Slots(1), Slots(2)),
        (nn.MSELoss(), nn.MSELoss(reduction="sum")),
        (nn.NLLLoss(), nn.CrossEntropyLoss()),
        (torch.relu, torch.tanh),
        (nn.Linear(2, 2), nn.Linear(2, 2)),  # its weights are not learned here
        (range(2), range(3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_settings_have_other_descriptions(one, other):
    assert describe(one) != describe(other)


def test_what_training_changes_counts_by_its_shape():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    learned = [id(p) for layer in (first, second) for p in layer.parameters()]
    assert describe(first, learned) == describe(second, learned)
    wide = nn.Linear(2, 3)
    assert describe(first, learned) != describe(wide, [id(p) for p in wide.parameters()])


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert folder(tmp_path / "file").load() is None
    with pytest.raises(OSError, match="file cannot be written"):
        folder(tmp_path / "file").save(1, TENSORS, HISTORY)
    assert names(tmp_path) == ["file"]
