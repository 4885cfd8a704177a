"""Conjugate gradients beside a solver that writes the matrix down; curvature beside the Hessian."""

import torch

from metalearn_edu.engine import conjugate_gradients, curvature_around, with_pull_back


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def split(v):
    """Vectors (T, 6) as two parameters."""
    return {"a": v[:, :2], "b": v[:, 2:].unflatten(1, (2, 2))}


def whole(params):
    return torch.cat([p.flatten(1) for p in params.values()], dim=1)


def through(matrices):
    return lambda v: split(torch.einsum("tij,tj->ti", matrices, whole(v)))


def positive(n_tasks=3):
    root = draw(n_tasks, 6, 6)
    return root @ root.mT / 6 + 0.5 * torch.eye(6, dtype=torch.float64)


def test_each_task_gets_the_solution_of_its_own_system():
    matrices, b = positive(), draw(3, 6, seed=1)
    x, sound = conjugate_gradients(through(matrices), split(b), 6)
    torch.testing.assert_close(whole(x), torch.linalg.solve(matrices, b), rtol=0, atol=1e-10)
    assert sound.all()


def test_more_steps_than_needed_change_nothing():
    matrices, b = positive(), draw(3, 6, seed=1)
    b[1] = 0
    x, sound = conjugate_gradients(through(matrices), split(b), 40)
    torch.testing.assert_close(whole(x), torch.linalg.solve(matrices, b), rtol=0, atol=1e-12)
    assert sound.all() and not whole(x)[1].any()


def test_one_task_alone_gets_the_same_as_among_others():
    matrices, b = positive(), draw(3, 6, seed=1)
    together = whole(conjugate_gradients(through(matrices), split(b), 3)[0])
    for t in range(3):
        alone = conjugate_gradients(through(matrices[t : t + 1]), split(b[t : t + 1]), 3)[0]
        torch.testing.assert_close(whole(alone)[0], together[t], rtol=0, atol=1e-14)


def test_a_matrix_that_is_not_positive_is_told_and_leaves_the_others_alone():
    matrices, b = positive(), draw(3, 6, seed=1)
    matrices[1] = -matrices[1]
    x, sound = conjugate_gradients(through(matrices), split(b), 6)
    assert sound.tolist() == [True, False, True]
    expected = torch.linalg.solve(matrices, b)
    torch.testing.assert_close(whole(x)[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-10)
    assert torch.isfinite(whole(x)).all()


def test_curvature_is_the_hessian_of_each_task():
    at = {n: p.requires_grad_() for n, p in split(draw(2, 6)).items()}

    def loss(v):
        return (v.sin() * v.roll(1).exp()).sum()

    total = sum(loss(v) for v in whole(at))
    gradient = torch.autograd.grad(total, list(at.values()), create_graph=True)
    product = curvature_around(at, dict(zip(at, gradient, strict=True)))
    v = draw(2, 6, seed=1)
    for t in range(2):
        hessian = torch.autograd.functional.hessian(loss, whole(at)[t].detach())
        torch.testing.assert_close(whole(product(split(v)))[t], hessian @ v[t], rtol=0, atol=1e-12)


def test_values_with_a_pull_back_have_the_gradient_that_it_says():
    x = draw(3).requires_grad_()
    values = with_pull_back({"y": draw(2, seed=1)}, [x], lambda g: [g["y"].sum() * 2 * x.detach()])
    (3 * values["y"]).sum().backward()
    torch.testing.assert_close(x.grad, 12 * x.detach())
