import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file

from metalearn_edu import checkpoints
from metalearn_edu.checkpoints import CheckpointFolder, save_json, save_weights

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


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / ".step-00000003.safetensors.x1.part").write_bytes(b"half")
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


DAMAGES = [
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


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert folder(tmp_path / "file").load() is None
    with pytest.raises(OSError, match="file cannot be written"):
        folder(tmp_path / "file").save(1, TENSORS, HISTORY)
    assert names(tmp_path) == ["file"]
