import csv
import importlib.util
from collections import deque

import pytest
import torch

from course import ROOT
from metalearn_edu.explorers.memory import record_streams
from metalearn_edu.explorers.slots import (
    RULES,
    SLOTS,
    RingController,
    point_classes,
    stored_runs,
    with_slots,
)
from metalearn_edu.learners import MANN, MANNController


def controller(kind=MANNController, slots=6, **options):
    torch.manual_seed(0)
    return kind(7, 8, slots, 4, num_reads=1, write_first=True, **options)


def run(controller, n_steps=20):
    """The states after each step of one random stream."""
    state, states = controller.initial_state(torch.zeros(1, 7)), []
    generator = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        _, state = controller(torch.randn(1, 7, generator=generator), state)
        states.append(state)
    return states


def test_with_both_parts_it_is_least_recently_used_access():
    for ours, packages in zip(
        run(controller(RingController, **RULES["LRUA"])), run(controller()), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(ours, packages, strict=True))


def test_a_ring_writes_into_the_slots_in_turn():
    for t, state in enumerate(run(controller(RingController))):
        expected = torch.zeros(6)
        expected[t % 6] = 1
        torch.testing.assert_close(state.write_weights[0, 0], expected)


def test_a_ring_holds_the_last_items_and_no_others():
    learner = MANN(None, controller(RingController), n_way=5)
    x, y = torch.randn(1, 20, 2), torch.randint(5, (1, 20))
    holds, last = record_streams(learner, x, y).holds[0], deque(maxlen=6)
    for t in range(20):
        last.append(t - 1)  # step t writes the item before
        assert sorted(h for h in holds[t].tolist() if h >= 0) == [h for h in last if h >= 0]


def test_without_a_gate_all_goes_into_the_least_used_slot_which_reads_protect():
    states = run(controller(RingController, **RULES["LRUA without a gate"]))
    usage = torch.zeros(6)
    for state in states:
        least = usage.argmin()
        assert float(state.write_weights[0, 0, least].detach()) == pytest.approx(1)
        usage = 0.99 * usage + (state.read_weights + state.write_weights)[0, 0].detach()
        torch.testing.assert_close(state.usage[0].detach(), usage)


def test_without_counting_reads_the_gate_still_works():
    states = run(controller(RingController, **RULES["LRUA, reads not counted"]))
    usage, read = torch.zeros(6), torch.full((6,), 1 / 6)
    for state in states:
        write = state.write_weights[0, 0].detach()
        others = torch.arange(6) != usage.argmin()
        share = (write / read)[others]  # the gate, the same for all slots but the wiped one
        torch.testing.assert_close(share, share[:1].expand(5), rtol=1e-3, atol=1e-5)
        assert 0 < float(share[0]) < 1
        usage, read = 0.99 * usage + write, state.read_weights[0, 0].detach()
        torch.testing.assert_close(state.usage[0].detach(), usage)


@pytest.mark.parametrize("rule", RULES)
def test_another_number_of_slots_takes_the_same_weights_and_shares_none(rule):
    first = controller()
    second = with_slots(first, 3, rule)
    assert second.memory_size == 3 and second.write_first
    assert (second.gated, second.reads_count) == tuple(RULES[rule].values())
    for name, weights in second.state_dict().items():
        assert torch.equal(weights, first.state_dict()[name])
        assert weights.data_ptr() != first.state_dict()[name].data_ptr()
    with pytest.raises(ValueError, match=r"memory_size must be .* at least 1, got 0"):
        with_slots(first, 0, rule)


def test_points_lie_around_their_class():
    points = point_classes(n_classes=50)
    items = points.items.view(50, 10, 32)
    assert torch.equal(points.labels, torch.arange(50).repeat_interleave(10))
    within = items - items.mean(dim=1, keepdim=True)
    assert float(within.std()) == pytest.approx(0.5 * 0.9**0.5, rel=0.02)  # 9 of 10 are free
    assert torch.equal(items, point_classes(n_classes=50).items.view(50, 10, 32))


def test_the_stored_table_has_each_rule_slots_and_seed_once():
    expected = {
        (rule, slots, seed)
        for seed in (0, 1, 2)
        for slots in SLOTS
        for rule in (RULES if slots == 8 else ("LRUA", "ring"))
    }
    assert [(r.rule, r.slots, r.seed) for r in stored_runs()] == sorted(
        expected, key=lambda key: (key[2], key[1], list(RULES).index(key[0]))
    )
    assert all(50 < run.second <= 100 and 50 < run.tenth <= 100 for run in stored_runs())


def test_the_tool_writes_what_is_read(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools" / "memory_slots.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    row = tool.measure("ring", 8, 0, n_steps=1, n_episodes=4)
    stored = ROOT / "metalearn_edu" / "results" / "memory_slots.csv"
    names = next(csv.reader(stored.read_text().splitlines()))
    assert names == ["rule", "slots", "seed", *row]
    assert all(0 <= value <= 100 for value in row.values())
