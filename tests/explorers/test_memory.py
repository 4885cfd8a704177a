import pytest
import torch
from torch import nn

from metalearn_edu.explorers.memory import RULE_NAMES, MemoryExplorer, record_streams
from metalearn_edu.learners import MANN, LSTMController, MANNController
from metalearn_edu.streams import instance_numbers
from metalearn_edu.tasks import FewShotDataset, Streams
from tests.drawn_text import overlaps

SLOTS, LENGTH = 14, 12
LRUA, RING = RULE_NAMES


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
    assert torch.equal(first.read, second.read) and torch.equal(first.usage, second.usage)
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())
    assert not first.probabilities.requires_grad


def test_a_learner_without_a_memory_is_refused(streams):
    learner = MANN(nn.Flatten(), LSTMController(39, 8), 3)
    with pytest.raises(ValueError, match=r"needs a MANNController, .* it has a LSTMController"):
        MemoryExplorer(learner, streams)


@pytest.mark.parametrize("write_first", [False, True])
def test_a_slot_holds_the_item_before_its_last_wiping(streams, write_first):
    x, y = streams.episodes(1, 0, 2).stream()
    record = record_streams(make(write_first=write_first), x, y)
    for slot in range(SLOTS):
        for step in range(LENGTH):
            expected = -1
            for t in range(step + 1 if write_first else step):
                if record.least_used[1, t, slot]:
                    expected = t - 1
            assert int(record.holds[1, step, slot]) == expected
            same = expected >= 0 and bool(y[1, expected] == y[1, step])
            assert bool(record.same_class[1, step, slot]) is same


def test_found_is_what_is_read_from_the_right_class(streams):
    x, y = streams.episodes(1, 0, 2).stream()
    record = record_streams(make(num_reads=2), x, y)
    for step in (0, 3, LENGTH - 1):
        right = [
            float(record.read[0, step, slot])
            for slot in range(SLOTS)
            if record.holds[0, step, slot] >= 0 and y[0, record.holds[0, step, slot]] == y[0, step]
        ]
        assert float(record.found[0, step]) == pytest.approx(sum(right), abs=1e-6)
        wiped = record.least_used[0, step] > 0
        assert float(record.to_wiped[0, step]) == pytest.approx(
            float(record.write[0, step][wiped].sum())
        )


def marks(ax):
    """How many items are marked as right and as wrong."""
    lines = {line.get_label(): len(line.get_xdata()) for line in ax.lines}
    return lines["right"], lines["wrong"]


@pytest.mark.parametrize(("step", "stream"), [(1, 2), (7, 1), (LENGTH, 0)])
@pytest.mark.parametrize(("slots", "rule"), [(SLOTS, LRUA), (8, LRUA), (8, RING), (64, RING)])
def test_draws_its_whole_range(explorer, step, stream, slots, rule):
    fig = explorer.figure(step=step, stream=stream, slots=slots, rule=rule)
    assert not overlaps(fig)
    strip, item, answer, memory = fig.axes
    record = explorer.record(slots, rule)
    is_right = record.probabilities.argmax(dim=2) == explorer.y
    n_right, in_all = int(is_right[stream, :step].sum()), int(is_right[stream].sum())
    assert marks(strip) == (n_right, step - n_right)
    title = f"stream {stream}: {n_right} of {step} right so far, {in_all} of all {LENGTH}"
    assert strip.get_title(loc="left") == title
    heard = "none yet" if step == 1 else f"label {int(explorer.y[stream, step - 2])}"
    assert item.get_xlabel() == f"heard with it: {heard}"
    shown = torch.tensor(item.images[0].get_array())
    torch.testing.assert_close(1 - shown, explorer.x[stream, step - 1, 0])
    heights = [bar.get_height() for bar in answer.patches]
    assert heights == pytest.approx(record.probabilities[stream, step - 1].tolist())
    bars = memory.collections[1:]  # the first collection is the line under each slot
    for drawn, name in zip(bars, ("read", "write", "usage"), strict=True):
        values = getattr(record, name)[stream]
        lengths = [end[0] - begin[0] for begin, end in drawn.get_segments()]
        full = values.max() if name == "usage" else max(1.0, float(values.max()))
        assert lengths == pytest.approx((6 * values[step - 1] / full).tolist(), abs=1e-5)
    frames = int(
        record.same_class[stream, step - 1].sum() + record.least_used[stream, step - 1].sum()
    )
    assert len(memory.patches) == frames


def test_a_slot_shows_the_item_that_it_holds(explorer):
    record = explorer.record(8, RING)
    page = torch.tensor(explorer.figure(step=9, slots=8, rule=RING).axes[3].images[0].get_array())
    below = page.shape[0] - 6
    for slot, origin in enumerate(record.holds[0, 8].tolist()):
        picture = 1 - page[:6, 8 * slot : 8 * slot + 6]
        expected = explorer.x[0, origin, 0] if origin >= 0 else torch.zeros(6, 6)
        torch.testing.assert_close(picture, expected.clamp(min=0.07))
    assert below > 0 and record.holds[0, 8].max() == 7


def test_what_is_kept_is_counted_in_the_title(explorer):
    for step in range(1, LENGTH + 1):
        title = explorer.figure(step=step, slots=8).axes[3].get_title(loc="left")
        y, holds = explorer.y[0].tolist(), explorer.record(8, LRUA).holds[0, step - 1].tolist()
        kept = {y[h] for h in holds if h >= 0}
        assert (
            title
            == f"memory of 8 slots holds {len(kept)} of {len(set(y[: step - 1]))} classes seen"
        )


def test_with_its_own_slots_the_learner_is_as_it_was_trained(explorer):
    expected = explorer.learner.stream(explorer.x, explorer.y).softmax(dim=2).detach()
    torch.testing.assert_close(explorer.record(SLOTS, LRUA).probabilities, expected)


def test_says_what_was_read_and_whether_the_answer_is_right(explorer):
    for step in range(1, LENGTH + 1):
        text = explorer.describe(**{**explorer.state, "step": step, "stream": 1})
        number = int(instance_numbers(explorer.y)[1, step - 1])
        assert text.startswith(f"Step {step} of stream 1, item {number} of its class.")
        record = explorer.record(SLOTS, LRUA)
        answer = int(record.probabilities[1, step - 1].argmax())
        right = answer == int(explorer.y[1, step - 1])
        assert (": right." in text) is right
        slot = int(record.read[1, step - 1].argmax())
        origin = int(record.holds[1, step - 1, slot])
        assert f"slot {slot}, weight" in text
        wiped = int(record.least_used[1, step - 1].argmax())
        assert f"Slot {wiped} is wiped" in text
        assert f"{record.found[1, step - 1]:.2f} of the reading finds the item's own class" in text
        if origin < 0:
            assert "no item was written" in text
        else:
            label = int(explorer.y[1, origin])
            assert f"the item of step {origin + 1}, of the class with label {label}. " in text


def test_two_rows_of_items_and_a_training_learner_stays_in_training(streams):
    generator = torch.Generator().manual_seed(0)
    items = (255 * torch.rand(60, 1, 6, 6, generator=generator)).to(torch.uint8)
    long = Streams(FewShotDataset(items, torch.arange(5).repeat_interleave(12)), 3, 10)
    learner = make().train()
    explorer = MemoryExplorer(learner, long, n_streams=1)
    assert learner.training
    strip = explorer.figure(step=30).axes[0]
    heights = {y for line in strip.lines for y in line.get_ydata()}
    assert sum(marks(strip)) == 30 and len(heights) == 2


def test_the_widget_moves(explorer):
    before = explorer.picture.value
    explorer.set(step=3)
    assert explorer.picture.value != before and "Step 3 of stream 0" in explorer.text.value
    middle = explorer.picture.value
    explorer.inputs["stream"].value = 2
    assert explorer.picture.value != middle and "Step 3 of stream 2" in explorer.text.value
    middle = explorer.picture.value
    explorer.inputs["slots"].value = 8
    assert explorer.picture.value != middle and "memory of 8 slots" in explorer.text.value
    middle = explorer.text.value
    explorer.set(rule=RING, step=LENGTH)
    assert explorer.text.value != middle
    with pytest.raises(ValueError, match="step must lie in 1 to 12"):
        explorer.set(step=13)
