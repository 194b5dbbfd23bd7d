"""The predecessor's net: its layers by name, its arithmetic written out here a second time, cubes by themselves."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import batch_norm, conv3d, interpolate, max_pool3d, relu

from emres.errors import UsageError
from emres.model.legacy import CUBE, LegacyUNet


@pytest.fixture(params=[0, 1], ids=["dropout", "batchnorm"])
def net(request):
    torch.manual_seed(4)
    made = LegacyUNet(batchnorm=request.param, filters=3)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made.eval()


def written_out(weights, cube):
    """The predecessor's forward pass, from the names of its weights alone."""

    def conv(name, x):
        return conv3d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def encoder(name, x):
        x = relu(conv(f"{name}2.0", relu(conv(f"{name}1.0", x))))
        if f"{name}2.2.weight" not in weights:
            return x
        mean, variance, gain, bias = (
            weights[f"{name}2.2.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, variance, gain, bias)

    def decoder(level, x, skip):
        x = interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        x = torch.cat([skip, relu(conv(f"deconv{level}_1.0", x))], 1)
        return relu(conv(f"deconv{level}_2.2", relu(conv(f"deconv{level}_2.0", x))))

    one = encoder("conv1_", cube)
    two = encoder("conv2_", max_pool3d(one, 2))
    three = encoder("conv3_", max_pool3d(two, 2))
    four = encoder("conv4_", max_pool3d(three, 2))
    x = encoder("conv_root", max_pool3d(four, 2))
    for level, skip in ((4, four), (3, three), (2, two), (1, one)):
        x = decoder(level, x, skip)
    return conv("deconv1_2.4", x)


def test_the_arithmetic_is_the_predecessors(net):
    cubes = torch.rand(3, 1, CUBE, CUBE, CUBE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = written_out(dict(net.state_dict()), cubes)
        assert torch.allclose(net(cubes), expected, atol=1e-6)


def test_layers_carry_the_names_of_published_weights():
    names = {key.split(".")[0] for key in LegacyUNet(filters=2).state_dict()}
    expected = {f"{kind}{level}_{number}" for kind in ("conv", "deconv") for level in range(1, 5) for number in (1, 2)}
    assert names == expected | {"conv_root1", "conv_root2"}


def test_full_size_has_the_predecessors_channels():
    shapes = {key: tuple(value.shape) for key, value in LegacyUNet().state_dict().items()}
    assert shapes["conv1_1.0.weight"] == (64, 1, 3, 3, 3)
    assert shapes["conv_root2.0.weight"] == (1024, 1024, 3, 3, 3)
    assert shapes["deconv4_1.0.weight"] == (512, 1024, 3, 3, 3)
    assert shapes["deconv4_2.0.weight"] == (512, 1024, 3, 3, 3)
    assert shapes["deconv1_2.4.weight"] == (1, 64, 3, 3, 3)


def test_a_cube_knows_nothing_of_its_neighbours(net):
    box = torch.rand(1, 1, 32, 16, 48, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        whole = net(box)
        alone = net(box[..., 16:32, :, 16:32])
    assert torch.allclose(whole[..., 16:32, :, 16:32], alone, atol=1e-6)


def test_margins_are_left_out(net):
    box = torch.rand(1, 1, 32, 32, 16, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        trimmed = net(box, ((16, 0), (0, 16), (0, 0)))
        assert torch.allclose(trimmed, net(box)[..., 16:, :16, :], atol=1e-6)


def test_a_box_of_broken_cubes_is_refused(net):
    with pytest.raises(UsageError, match="multiples of 16"):
        net(torch.zeros(1, 1, 16, 20, 16))
