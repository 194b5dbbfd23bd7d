"""The predecessor's 3D U-Net, so that its published weights go on being of use.

It reads cubes of 16^3 voxels that know nothing of each other, of a map scaled to 0..1, and answers in Å. Pairs of
convolutions and poolings lead down from 64 to 1024 channels; on the way up a convolution halves the channels, those of
the encoder are put before them, and two more convolutions follow, three at the last level. Trilinear up-sampling aligns
corners. From the predecessor's description; the names of the layers are those in its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emres.errors import UsageError
from emres.model.unet import NO_MARGINS, Margins

CUBE = 16
LEVELS = 4
DROPOUT = 0.25
_CUBES_AT_ONCE = 16  # some 10 MB each on the way through the widest levels


class LegacyUNet(nn.Module):
    """Local resolution in Å from cubes of 16^3 voxels, each by itself.

    Parameters
    ----------
    batchnorm : int
        1 for batch normalisation, 0 for dropout (0.25) after the second convolution of a level.
    filters : int
        Channels of the first level; each level doubles them.

    Examples
    --------
    >>> net = LegacyUNet(filters=2).eval()
    >>> net(torch.zeros(1, 1, 16, 32, 16)).shape
    torch.Size([1, 1, 16, 32, 16])
    """

    multiple = CUBE
    receptive_radius = 0  # a voxel depends on its own cube alone

    def __init__(self, batchnorm: int = 0, filters: int = 64) -> None:
        super().__init__()
        width = [filters * 2**level for level in range(LEVELS + 1)]
        for name, inputs, outputs in zip(_encoder_names(), [1, *width], width, strict=False):
            self.add_module(f"{name}1", nn.Sequential(_conv(inputs, outputs), nn.ReLU()))
            tamed = nn.BatchNorm3d(outputs) if batchnorm else nn.Dropout3d(DROPOUT)
            self.add_module(f"{name}2", nn.Sequential(_conv(outputs, outputs), nn.ReLU(), tamed))
        for level in range(LEVELS, 0, -1):
            wide, narrow = width[level], width[level - 1]
            both = (_conv(wide, narrow), nn.ReLU(), _conv(narrow, narrow), nn.ReLU())
            self.add_module(f"deconv{level}_1", nn.Sequential(_conv(wide, narrow), nn.ReLU()))
            self.add_module(f"deconv{level}_2", nn.Sequential(*both, *([_conv(narrow, 1)] if level == 1 else [])))

    def forward(self, density: Tensor, margins: Margins = NO_MARGINS) -> Tensor:
        """Predict Å.

        Parameters
        ----------
        density : (batch, 1, z, y, x) float32
            0..1; sides divide by 16, and cubes begin at index 0.
        margins : three of (int, int)
            Voxels before and after along z, y, x whose answer is not wanted, multiples of 16.

        Returns
        -------
        (batch, 1, z, y, x) float32
            Without the margins.

        Raises
        ------
        UsageError
            If a side is not a multiple of 16.
        """
        if any(side % CUBE for side in density.shape[2:]):
            sides = tuple(density.shape[2:])
            raise UsageError("a box does not fit the net", got=f"sides {sides}", expected=f"multiples of {CUBE}")
        for axis, (before, after) in enumerate(margins, start=2):
            density = density.narrow(axis, before, density.shape[axis] - before - after)
        cubes = _cut(density)
        # An empty cube costs as much as any other, and the mask leaves its answer out: but it is part of the contract.
        answers = [self._forward_cubes(some) for some in torch.split(cubes, _CUBES_AT_ONCE)]
        return _joined(torch.cat(answers), density.shape)

    def _forward_cubes(self, features: Tensor) -> Tensor:
        """Map (cubes, 1, 16, 16, 16) to the same shape."""
        held = []
        for level, name in enumerate(_encoder_names(), start=1):
            features = self._pair(name, features)
            if level <= LEVELS:
                held.append(features)
                features = nn.functional.max_pool3d(features, 2)
        for level in range(LEVELS, 0, -1):
            features = nn.functional.interpolate(features, scale_factor=2, mode="trilinear", align_corners=True)
            features = torch.cat([held.pop(), self.get_submodule(f"deconv{level}_1")(features)], 1)
            features = self.get_submodule(f"deconv{level}_2")(features)
        return features

    def _pair(self, name: str, features: Tensor) -> Tensor:
        first, second = (self.get_submodule(f"{name}{number}") for number in (1, 2))
        answer: Tensor = second(first(features))
        return answer


def _encoder_names() -> list[str]:
    return [*(f"conv{level}_" for level in range(1, LEVELS + 1)), "conv_root"]


def _conv(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, 3, padding=1)


def _cut(density: Tensor) -> Tensor:
    """Cut (batch, 1, z, y, x) into (cubes, 1, 16, 16, 16)."""
    batch, _, z, y, x = density.shape
    cubes = density.reshape(batch, z // CUBE, CUBE, y // CUBE, CUBE, x // CUBE, CUBE)
    return cubes.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 1, CUBE, CUBE, CUBE)


def _joined(cubes: Tensor, shape: torch.Size) -> Tensor:
    """Put the cubes of :func:`_cut` back into (batch, 1, z, y, x)."""
    batch, _, z, y, x = shape
    lattice = cubes.reshape(batch, z // CUBE, y // CUBE, x // CUBE, CUBE, CUBE, CUBE)
    return lattice.permute(0, 1, 4, 2, 5, 3, 6).reshape(shape)
