"""The properties of the net that block-wise prediction rests on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.errors import UsageError
from emres.model.unet import CompactUNet, depth_to_space
from emres.volume.blocks import Box, plan_blocks


def answer(net: torch.nn.Module, density: np.ndarray) -> np.ndarray:
    """What the net says on a volume that is zero-padded at the far end to the multiple."""
    padded = np.pad(density, [(0, -side % 4) for side in density.shape])
    with torch.inference_mode():
        result = net(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return result[tuple(slice(side) for side in density.shape)]


@pytest.mark.parametrize("voxel", [(33, 34, 35), (32, 33, 32), (32, 35, 32)])
def test_receptive_radius_is_exact(net: torch.nn.Module, voxel: tuple[int, int, int]) -> None:
    """No output voxel depends on anything beyond the radius, and some output voxel does reach it."""
    density = torch.randn(1, 1, 68, 68, 68, requires_grad=True)
    net(density)[(0, 0, *voxel)].backward()
    assert density.grad is not None
    touched = np.argwhere(density.grad[0, 0].numpy() != 0)
    reach = np.abs(touched - np.array(voxel)).max()
    assert reach <= net.receptive_radius
    if 33 in voxel:
        assert reach == net.receptive_radius


def test_net_is_small_enough() -> None:
    shipped = CompactUNet(channels=16, deep_channels=48, deep_layers=3)
    assert shipped.receptive_radius <= 24
    assert shipped.multiple <= 8
    assert shipped.flops_per_voxel <= 40_000
    assert 4 * sum(weight.numel() for weight in shipped.parameters()) < 5_000_000


def test_flops_are_those_of_the_convolutions(net: torch.nn.Module) -> None:
    counted = 0.0

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        positions = inputs[0] if isinstance(layer, torch.nn.ConvTranspose3d) else output
        counted += 2 * layer.weight.numel() * positions[0, 0].numel()

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 1, 16, 16, 16))
    stem = 2 * 16 * 64 / 8
    assert net.flops_per_voxel == pytest.approx(counted / 16**3 + stem)


def test_blockwise_equals_whole_at_the_faces_too(net: torch.nn.Module, density: np.ndarray) -> None:
    whole = answer(net, density)
    plan = plan_blocks(density.shape, core=32, halo=24, multiple=4)
    assert len(plan) > 8
    for block in plan:
        part = answer(net, density[block.read.slices])
        np.testing.assert_allclose(part[block.core.slices], whole[block.write.slices], atol=1e-5)


def test_a_block_off_the_multiple_or_with_a_short_halo_differs(net: torch.nn.Module, density: np.ndarray) -> None:
    """What the test above guards against is real: otherwise it could not fail."""
    whole = answer(net, density)
    core = Box((40, 32, 32), (48, 40, 40))
    for read in (core.grown(22), core.grown(12)):
        part = answer(net, density[read.slices])
        assert np.abs(part[core.within(read).slices] - whole[core.slices]).max() > 1e-4


def test_zeros_beyond_the_far_face_change_nothing_inside(net: torch.nn.Module, density: np.ndarray) -> None:
    """The face is zero padding; a box with one more multiple of zeros differs within the receptive radius only."""
    longer = np.pad(density, [(0, 4), (0, 0), (0, 0)])
    inner = density.shape[0] - net.receptive_radius - 4
    np.testing.assert_allclose(answer(net, longer)[:inner], answer(net, density)[:inner], atol=1e-5)


def test_folding_the_normalisation_changes_nothing(density: np.ndarray, net: torch.nn.Module) -> None:
    before = answer(net, density)
    after = answer(net.folded(), density)
    assert not any(isinstance(module, torch.nn.BatchNorm3d) for module in net.modules())
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_stem_shows_pattern_apart_from_contrast(net: torch.nn.Module) -> None:
    """A map twice as strong has the same features but for its energy, which moves by log 4 / 4."""
    density = torch.randn(1, 1, 16, 16, 16)
    weak, strong = net.stem(density), net.stem(2 * density)
    others = [*range(16), *range(17, 21)]
    torch.testing.assert_close(strong[:, others], weak[:, others], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        strong[:, 16] - weak[:, 16], torch.full_like(weak[:, 16], np.log(4) / 4), atol=1e-4, rtol=0
    )


def test_depth_to_space_puts_channel_k_at_voxel_k_of_its_cell() -> None:
    cells = torch.arange(16.0).reshape(1, 8, 2, 1, 1)
    voxels = depth_to_space(cells)
    assert voxels.shape == (1, 1, 4, 2, 2)
    assert voxels[0, 0, 2:, :, :].flatten().tolist() == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0]


def test_a_side_that_is_no_multiple_is_refused(net: torch.nn.Module) -> None:
    with pytest.raises(UsageError, match=r"multiples of 4"):
        net(torch.zeros(1, 1, 8, 8, 10))


@pytest.mark.parametrize(
    "margins",
    [
        ((24, 24), (24, 24), (24, 24)),
        ((0, 24), (24, 0), (28, 40)),
        ((24, 24), (0, 0), (48, 0)),
        ((0, 24), (0, 0), (0, 0)),
    ],
)
def test_margins_change_what_is_computed_and_not_what_is_answered(net: torch.nn.Module, margins) -> None:
    """Faces with the whole halo, with more than it, and faces of the volume, where zero padding acts."""
    density = torch.randn(1, 1, 64, 72, 80)
    where = tuple(slice(a, n - b) for (a, b), n in zip(margins, density.shape[2:], strict=True))
    values: list[int] = []
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_hook(lambda layer, inputs, output: values.append(output.numel()))
    with torch.inference_mode():
        whole = net(density)
        all_values, values[:] = sum(values), []
        part = net(density, margins)
    torch.testing.assert_close(part, whole[(0, 0, *where)][None, None], rtol=1e-4, atol=1e-6)
    assert sum(values) < 0.9 * all_values
