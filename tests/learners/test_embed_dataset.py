"""Embedding a data set once gives the scores of the whole network."""

import pytest
import torch
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import PrototypicalNetwork, embed_dataset
from metalearn_edu.tasks import EpisodeSampler, FewShotDataset


@pytest.fixture
def images() -> FewShotDataset:
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(0, 256, (7 * 6, 1, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randperm(42, generator=generator) % 7
    return FewShotDataset(items, labels, class_groups=list("aabbbbb"), name="noise")


@pytest.mark.parametrize("chunk_size", [5, 500])
def test_same_episodes_and_same_scores(images: FewShotDataset, chunk_size: int) -> None:
    torch.manual_seed(0)
    encoder = ConvNet(width=8, downsample="stride")
    embedded = embed_dataset(encoder, images, chunk_size=chunk_size)
    assert embedded.item_shape == (8,)
    assert embedded.class_groups == images.class_groups
    on_images, on_embeddings = (
        EpisodeSampler(data, n_way=5, n_shot=2, n_query=3).episodes(seed=1, start=0, n_tasks=4)
        for data in (images, embedded)
    )
    assert torch.equal(on_images.classes, on_embeddings.classes)
    with torch.no_grad():
        whole = PrototypicalNetwork(encoder)(*inputs(on_images))
        once = PrototypicalNetwork(nn.Identity())(*inputs(on_embeddings))
    torch.testing.assert_close(once, whole)


def inputs(batch):
    return batch.support_x, batch.support_y, batch.query_x


def test_batch_normalisation_is_used_in_eval_mode_and_left_alone(images: FewShotDataset) -> None:
    encoder = ConvNet(width=8, downsample="stride", norm="batch").train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    embedded = embed_dataset(encoder, images, chunk_size=5)
    assert encoder.training
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        one = encoder.eval()(images.gather(torch.tensor([3])))
    torch.testing.assert_close(embedded.items[3:4], one)


def test_evaluation_agrees(images: FewShotDataset) -> None:
    encoder = ConvNet(width=8, downsample="stride")
    learners = PrototypicalNetwork(encoder), PrototypicalNetwork(nn.Identity())
    data = images, embed_dataset(encoder, images)
    first, second = (
        evaluate_meta_learner(learner, EpisodeSampler(d, 5, 1, n_query=5), n_episodes=8)
        for learner, d in zip(learners, data, strict=True)
    )
    assert abs(first.mean - second.mean) < 0.02
