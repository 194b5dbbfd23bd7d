"""The compact 3D U-Net: made for CPU speed, and block-exact.

::

    density, 1 channel, full sampling
      |  stem: one fixed convolution (4^3, stride 2) takes every 2^3 voxels and their high-passed values as 16
      |  channels; each set is divided by its local rms, whose logarithm is kept beside it
      |  conv 3^3                                            half sampling
      +----------------------------- skip ---------+
      |  conv 2^3, stride 2                        |
      |  x + conv 3^3   (deep_layers times)        |         quarter sampling
      |  transposed conv 2^3, stride 2             |
      +--------------------------------------- concatenate
      |  conv 3^3, conv 1^3 -> 8 channels                    half sampling
      v  8 channels -> 2^3 voxels
    log(local resolution / voxel size), 1 channel, full sampling

Nothing in it looks at a whole volume: no instance or group norm, no ``align_corners``, every kernel that changes the
sampling equals its stride or is anchored to even voxels. A block that starts on a multiple of 4 and carries
``receptive_radius`` voxels of context therefore gives the whole volume's answer. Zero padding acts at the faces of a
volume only.
"""

from __future__ import annotations

import itertools
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from emres.errors import UsageError

# Energies are relative to the density's mean square in the molecule; this floor is far below what a map resolves and
# far above float32 rounding.
ENERGY_FLOOR = 1e-6


Margins = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
NO_MARGINS: Margins = ((0, 0), (0, 0), (0, 0))


class Stem(nn.Module):
    """Density to locally normalised features at half sampling; nothing in it is learnt.

    Sharpening and masking change a map's local contrast and its spectrum far more than they change its local
    resolution. So the net is shown contrast and pattern apart: the 8 voxels of a cell over their local rms, the same of
    the high-passed density, the logarithm of the local energy, and four logarithms of ratios of energies that tell how
    steeply the local spectrum falls (between cells, within cells) and how alike neighbouring voxels are (of the
    density, of its finest part). A straight line through the means of such logarithms already explains most of
    the differences between the levels of simulated maps.
    """

    channels = 21

    def __init__(self) -> None:
        super().__init__()
        self.taps: Tensor
        self.register_buffer("taps", _cell_and_high_pass_kernels(), persistent=False)

    def forward(self, density: Tensor) -> Tensor:
        """Turn (batch, 1, z, y, x) into (batch, 21, z/2, y/2, x/2)."""
        # Squares and their ratios need all the digits of float32, whatever the layers after it make do with.
        with torch.autocast(density.device.type, enabled=False):
            return self._features(density.float())

    def _features(self, density: Tensor) -> Tensor:
        cells = nn.functional.conv3d(density, self.taps, stride=2, padding=1)
        raw, fine = cells[:, :8], cells[:, 8:]
        raw_mean, fine_mean = raw.mean(1, keepdim=True), fine.mean(1, keepdim=True)
        parts = (raw, raw_mean, raw_mean - blurred(raw_mean), fine, fine_mean)
        energies = [blurred(part.square().mean(1, keepdim=True)) + ENERGY_FLOOR for part in parts]
        whole, between, middle, finest, finest_alike = energies
        ratios = [whole, between / whole, middle / whole, finest / whole, finest_alike / finest]
        logs = torch.log(torch.cat(ratios, 1)) / 4
        return joined([raw / whole.sqrt(), fine / finest.sqrt(), logs])


def _cell_and_high_pass_kernels() -> Tensor:
    """Return (16, 1, 4, 4, 4): the 8 voxels of a 2^3 cell, then each of them minus the binomial mean of its 3^3."""
    line = torch.tensor([0.25, 0.5, 0.25])
    blur = torch.einsum("i,j,k->ijk", line, line, line)
    taps = torch.zeros(16, 1, 4, 4, 4)
    for channel, (z, y, x) in enumerate(itertools.product((0, 1), repeat=3)):
        taps[channel, 0, z + 1, y + 1, x + 1] = 1
        taps[channel + 8, 0, z : z + 3, y : y + 3, x : x + 3] = -blur
        taps[channel + 8, 0, z + 1, y + 1, x + 1] += 1
    return taps


def blurred(values: Tensor) -> Tensor:
    """Return the means over 3^3 cells, with zeros beyond the faces."""
    # Axis by axis: pooling, which adds up all 27, takes eight times as long.
    sums = nn.functional.pad(values, (1,) * 6)
    for axis in (2, 3, 4):
        before, middle, after = (sums.narrow(axis, k, sums.shape[axis] - 2) for k in range(3))
        sums = before + middle + after
    return sums / 27


def joined(parts: list[Tensor]) -> Tensor:
    """Return feature maps one after the other, channels last: else convolutions that want them so copy them again."""
    return torch.cat([part.movedim(1, -1) for part in parts], -1).movedim(-1, 1)


class ConvUnit(nn.Module):
    """Convolution, batch normalisation, ReLU; the normalisation folds into the convolution for inference."""

    def __init__(self, convolution: nn.Conv3d | nn.ConvTranspose3d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm: nn.Module = nn.BatchNorm3d(convolution.out_channels)

    def forward(self, features: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Keep the shape, or change the sampling as the convolution does; a gain and an offset a channel, if given."""
        normed = self.norm(self.convolution(features))
        return torch.relu_(normed) if film is None else torch.relu_(torch.addcmul(normed + film[1], normed, film[0]))

    def fold(self) -> None:
        """Merge the batch normalisation (its running statistics) into the convolution."""
        if isinstance(self.norm, nn.BatchNorm3d):
            transpose = isinstance(self.convolution, nn.ConvTranspose3d)
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm, transpose=transpose)
            self.norm = nn.Identity()


class TwoLevelUNet(nn.Module):
    """What our nets share: a stem, an encoder and a decoder at half sampling, residual layers at a quarter of it.

    Parameters
    ----------
    channels, deep_channels : int
        At half sampling, and at quarter sampling.
    deep_layers : int
        Residual 3^3 convolutions at quarter sampling; each adds 4 voxels of reach.
    bands : int
        Features that the encoder reads beside the stem's.
    outputs : int
        Channels of the head.
    others : int
        Channels that the encoder reads beside the stem's and the bands.
    """

    multiple = 4

    def __init__(
        self, channels: int, deep_channels: int, deep_layers: int, *, bands: int, outputs: int, others: int = 0
    ) -> None:
        super().__init__()
        self.deep_layers = deep_layers
        self.stem = Stem()
        if bands:
            self.bands = conv3(Stem.channels, bands)
        self.encode = ConvUnit(conv3(Stem.channels + bands + others, channels))
        self.down = ConvUnit(nn.Conv3d(channels, deep_channels, 2, stride=2, bias=False))
        self.deep = nn.ModuleList(ConvUnit(conv3(deep_channels, deep_channels)) for _ in range(deep_layers))
        self.up = ConvUnit(nn.ConvTranspose3d(deep_channels, channels, 2, stride=2, bias=False))
        self.decode = ConvUnit(conv3(2 * channels, channels))
        self.head = nn.Conv3d(channels, outputs, 1)

    @property
    def flops_per_voxel(self) -> float:
        """Floating point operations per input voxel, a multiplication and an addition counted as two."""
        operations = 2 * self.stem.taps.numel() / 8
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                at_half = name.split(".")[0] in ("bands", "encode", "decode", "head")
                operations += 2 * layer.weight.numel() / (8 if at_half else 64)
        return operations

    def folded(self) -> Self:
        """Merge every batch normalisation into its convolution, in place, and return the net in evaluation mode."""
        self.eval()
        for unit in self.modules():
            if isinstance(unit, ConvUnit):
                unit.fold()
        return self


class CompactUNet(TwoLevelUNet):
    """Local resolution from one map: log(Å / voxel size), block-exact.

    Parameters
    ----------
    channels : int
        Channels at half sampling.
    deep_channels : int
        Channels at quarter sampling.
    deep_layers : int
        Residual 3^3 convolutions at quarter sampling; each adds 4 voxels of reach.

    Examples
    --------
    >>> net = CompactUNet(channels=8, deep_channels=8, deep_layers=3).eval()
    >>> net.multiple, net.receptive_radius
    (4, 23)
    >>> net(torch.zeros(1, 1, 8, 8, 12)).shape
    torch.Size([1, 1, 8, 8, 12])
    """

    def __init__(self, channels: int = 16, deep_channels: int = 48, deep_layers: int = 3) -> None:
        super().__init__(channels, deep_channels, deep_layers, bands=0, outputs=8)

    @property
    def receptive_radius(self) -> int:
        """Voxels from an output voxel to the farthest input voxel that it can depend on.

        At half sampling the decoder and the encoder reach one cell of 2 voxels each, the energy of the middle band
        two; every deep layer reaches one cell of 4. The rest is alignment: an output voxel depends on whole cells.
        """
        return 11 + 4 * self.deep_layers

    def forward(self, density: Tensor, margins: Margins = NO_MARGINS) -> Tensor:
        """Predict log(local resolution / voxel size).

        Parameters
        ----------
        density : (batch, 1, z, y, x) float32
            Normalised; sides divide by 4.
        margins : three of (int, int)
            Voxels, multiples of 4, before and after along z, y, x that are context only. No layer computes more of
            them than the layers after it look at.

        Returns
        -------
        (batch, 1, z, y, x) float32
            Without the margins.

        Raises
        ------
        UsageError
            If a side is not a multiple of 4.
        """
        check_sides(density, self.multiple)
        trim = Trim(margins)
        # In cells of 4 voxels: every deep layer looks one cell further than the next, decoder and encoder half a cell.
        reach = self.deep_layers + 1
        shallow = trim(self.encode(trim(self.stem(density), 2, reach + 1)), 2, reach)
        deep = self.down(shallow)
        for left, layer in zip(range(self.deep_layers, 0, -1), self.deep, strict=True):
            deep = trim(deep + layer(deep), 4, left)
        shallow = Trim(margins, reach)(shallow, 2, 1)
        features = self.decode(joined([shallow, self.up(deep)]))
        return trim(depth_to_space(self.head(features)), 1, 0)


class Trim:
    """Cut what is not needed any more off the margins of feature maps.

    Parameters
    ----------
    margins : three of (int, int)
        Voxels before and after, of the density.
    cells : int, optional
        Cells of 4 voxels that are left of them already.
    """

    def __init__(self, margins: Margins, cells: int | None = None) -> None:
        self._left = [min(side // 4, side if cells is None else cells) for pair in margins for side in pair]

    def __call__(self, features: Tensor, sampling: int, cells: int) -> Tensor:
        """Leave so many cells of 4 voxels of a feature map with one value every ``sampling`` voxels."""
        cuts = [max(side - cells, 0) * (4 // sampling) for side in self._left]
        self._left = [min(side, cells) for side in self._left]
        for axis, (before, after) in enumerate(zip(cuts[::2], cuts[1::2], strict=True), start=2):
            features = features.narrow(axis, before, features.shape[axis] - before - after)
        # A view with gaps would be copied by every layer that reads it, and slowly.
        return features.contiguous(memory_format=torch.channels_last_3d) if any(cuts) else features


def check_sides(density: Tensor, multiple: int) -> None:
    """Raise unless every side of a box divides by a net's multiple.

    Raises
    ------
    UsageError
    """
    if any(side % multiple for side in density.shape[2:]):
        raise UsageError(
            "a box does not fit the net",
            got=f"sides {tuple(density.shape[2:])}",
            expected=f"multiples of {multiple}",
            cure="pad the far end with zeros",
        )


def conv3(inputs: int, outputs: int) -> nn.Conv3d:
    """Return a 3^3 convolution that keeps the shape; what follows it has an offset of its own."""
    return nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)


def depth_to_space(cells: Tensor) -> Tensor:
    """Lay 8 channels out as the 2^3 voxels of each cell: (batch, 8 k, z, y, x) -> (batch, k, 2z, 2y, 2x)."""
    batch, channels, z, y, x = cells.shape
    voxels = cells.reshape(batch, channels // 8, 2, 2, 2, z, y, x).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return voxels.reshape(batch, channels // 8, 2 * z, 2 * y, 2 * x)
