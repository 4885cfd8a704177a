import pytest
import torch
from torch import nn

from metalearn_edu.explorers.memory import MemoryExplorer, record_streams
from metalearn_edu.learners import MANN, LSTMController, MANNController
from metalearn_edu.streams import instance_numbers
from metalearn_edu.tasks import FewShotDataset, Streams

SLOTS, LENGTH = 14, 12


def make(num_reads=1, **options):
    torch.manual_seed(0)
    controller = MANNController(36 + 3, 8, SLOTS, 5, num_reads=num_reads, **options)
    return MANN(nn.Flatten(), controller, 3)


@pytest.fixture(scope="module")
def streams():
    generator = torch.Generator().manual_seed(0)
    items = (255 * torch.rand(20, 1, 6, 6, generator=generator)).to(torch.uint8)
    return Streams(FewShotDataset(items, torch.arange(5).repeat_interleave(4)), 3, 4)


@pytest.fixture
def explorer(streams):
    return MemoryExplorer(make(write_first=True), streams, n_streams=3)


@pytest.mark.parametrize("num_reads", [1, 2])
def test_the_record_is_what_the_learner_does(streams, num_reads):
    learner, (x, y) = make(num_reads), streams.episodes(1, 0, 2).stream()
    record = record_streams(learner, x, y)
    torch.testing.assert_close(record.probabilities, learner.stream(x, y).softmax(dim=2).detach())
    states = [state for _, state in learner.steps(x, y)]
    for t, state in enumerate(states):
        assert torch.equal(record.memory[:, t], state.memory)
        assert torch.equal(record.usage[:, t], state.usage)
        torch.testing.assert_close(record.read[:, t], state.read_weights.sum(dim=1))
        torch.testing.assert_close(record.write[:, t], state.write_weights.sum(dim=1))
    assert torch.equal(record.least_used.sum(dim=2), torch.full((2, LENGTH), float(num_reads)))
    for t in range(1, LENGTH):  # whoever is wiped had the least usage before
        wiped = record.least_used[:, t] > 0
        usage = record.usage[:, t - 1]
        assert (usage[wiped].max() <= usage[~wiped].max()).all()
        assert usage[wiped].view(2, -1).amax(1).le(usage.sort().values[:, num_reads - 1]).all()


def test_recording_is_pure(streams):
    learner, (x, y) = make(), streams.episodes(1, 0, 2).stream()
    before = {name: p.clone() for name, p in learner.state_dict().items()}
    first, second = record_streams(learner, x, y), record_streams(learner, x, y)
    assert torch.equal(first.memory, second.memory)
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())
    assert not first.memory.requires_grad


def test_a_learner_without_a_memory_is_refused(streams):
    learner = MANN(nn.Flatten(), LSTMController(39, 8), 3)
    with pytest.raises(ValueError, match=r"needs a MANNController, .* it has a LSTMController"):
        MemoryExplorer(learner, streams)


@pytest.mark.parametrize("write_first", [False, True])
def test_origin_is_the_item_before_the_last_wiping(streams, write_first):
    x, y = streams.episodes(1, 0, 2).stream()
    record = record_streams(make(write_first=write_first), x, y)
    for slot in range(SLOTS):
        for step in range(LENGTH):
            expected = None
            for t in range(step + 1 if write_first else step):
                if record.least_used[1, t, slot]:
                    expected = t - 1
            assert record.origin(1, step, slot) == expected


@pytest.mark.parametrize(("step", "stream"), [(1, 2), (7, 1), (LENGTH, 0)])
def test_draws_its_whole_range(explorer, step, stream):
    axes = explorer.figure(step=step, stream=stream).axes
    strip, item, answer, weights, memory = axes
    right, wrong = (len(lines.get_segments()) for lines in strip.collections)
    assert right + wrong == step  # a bar under each item so far
    n_right = int(explorer.right[stream, :step].sum())
    assert right == n_right
    assert strip.get_title(loc="left") == f"stream {stream}: {n_right} of {step} right so far"
    heard = "none yet" if step == 1 else f"label {int(explorer.y[stream, step - 2])}"
    assert item.get_xlabel() == f"arriving now: {heard}"
    shown = torch.tensor(item.images[0].get_array())
    torch.testing.assert_close(1 - shown, explorer.x[stream, step - 1, 0])
    record = explorer.record
    heights = [bar.get_height() for bar in answer.patches]
    assert heights == pytest.approx(record.probabilities[stream, step - 1].tolist())
    kinds = (record.read, record.least_used, record.write, record.usage)
    labels = [label.get_text() for label in weights.get_yticklabels()]
    for patch, label, values in zip(weights.patches, labels, kinds, strict=True):
        heights = patch.get_data().values - patch.get_data().baseline
        top = float(label.rpartition(" ")[2])  # the label says what a full bar means
        assert heights.max() <= 1 + 1e-6
        expected = values[stream, step - 1].tolist()
        assert (top * heights).tolist() == pytest.approx(expected, rel=0.2, abs=1e-6)
    torch.testing.assert_close(
        torch.tensor(memory.images[0].get_array()), record.memory[stream, step - 1].T
    )


def test_says_what_was_read_and_whether_the_answer_is_right(explorer):
    for step in range(1, LENGTH + 1):
        text = explorer.describe(step=step, stream=1)
        number = int(instance_numbers(explorer.y)[1, step - 1])
        assert text.startswith(f"Step {step} of stream 1, item {number} of its class.")
        answer = int(explorer.record.probabilities[1, step - 1].argmax())
        right = answer == int(explorer.y[1, step - 1])
        assert (": right." in text) is right
        slot = int(explorer.record.read[1, step - 1].argmax())
        origin = explorer.record.origin(1, step - 1, slot)
        assert f"slot {slot}, weight" in text
        if origin is None or origin < 0:
            assert "no item was written" in text
        else:
            label = int(explorer.y[1, origin])
            assert f"the item of step {origin + 1}, of the class with label {label}." in text


def test_two_rows_of_items_and_a_training_learner_stays_in_training(streams):
    generator = torch.Generator().manual_seed(0)
    items = (255 * torch.rand(60, 1, 6, 6, generator=generator)).to(torch.uint8)
    long = Streams(FewShotDataset(items, torch.arange(5).repeat_interleave(12)), 3, 10)
    learner = make().train()
    explorer = MemoryExplorer(learner, long, n_streams=1)
    assert learner.training
    strip = explorer.figure(step=30).axes[0]
    segments = [s for lines in strip.collections for s in lines.get_segments()]
    assert len(segments) == 30 and len({s[0, 1] for s in segments}) == 2


def test_the_widget_moves(explorer):
    before = explorer.picture.value
    explorer.set(step=3)
    assert explorer.picture.value != before and "Step 3 of stream 0" in explorer.text.value
    middle = explorer.picture.value
    explorer.inputs["stream"].value = 2
    assert explorer.picture.value != middle and "Step 3 of stream 2" in explorer.text.value
    with pytest.raises(ValueError, match="step must lie in 1 to 12"):
        explorer.set(step=13)
