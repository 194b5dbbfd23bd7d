"""One block through one net.

A :class:`BlockPredictor` is a small, picklable function: what a cluster's scheduler ships is a path and a few numbers.
The net is opened once per process. Inside a block the mask decides what is computed (``emres.volume.boxes``); because
the net is block-exact, the answer does not depend on that choice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emres.errors import ModelError, UsageError
from emres.model.bundle import open_bundle
from emres.model.contract import ANGSTROM, Contract, read_contract
from emres.model.memory import box_on_gpu
from emres.model.out_of_memory import free_cached, halved, is_out_of_memory
from emres.model.unet import Margins, TwoLevelUNet
from emres.volume.blocks import Box
from emres.volume.boxes import cover_mask
from emres.volume.resample import read_box

Array = np.ndarray[Any, Any]

DEFAULT_MEMORY_BYTES = 1 << 30

Inputs = tuple[Array, Array | None]  # density and pattern

# Of the answer, relative: by how much fewer digits may change 99 of 100 voxels. On a CPU emres-small's change by 0.004
# in bfloat16 and 0.0005 in float16 (its spread; its resolution by less), on noise of 32^3.
HALF_TOLERANCE = 0.01

# A voxel of an answer with its uncertainty, both in Å.
RESOLUTION_AND_SPREAD = np.dtype([("resolution", np.float32), ("spread", np.float32)])


@dataclass(frozen=True)
class BlockPredictor:
    """Predict the local resolution of one block.

    Parameters
    ----------
    folder : str
        A model bundle.
    weights_sha256 : str
        The weights that were meant when the run was planned.
    working_voxel_size : float
        Å of the grid that the blocks lie on.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``; ``auto``: a GPU where the process that computes sees one.
    memory_bytes : int
        What the net may take for one box; on a GPU its memory says that.
    condition : tuple of float
        What a conditioned net is told of the whole map.
    with_spread : bool
        Whether to give the uncertainty too.
    precision : str
        ``float32``, ``bfloat16`` or ``float16``: in what the net computes. Fewer digits are faster on some GPUs (none
        was measured), and ``HALF_TOLERANCE`` is how far the answer may go from that of float32.

    Examples
    --------
    ``predictor(density, mask)`` gives Å inside the mask and 0 outside; ``make_predictor(folder)`` builds one.
    """

    folder: str
    weights_sha256: str
    working_voxel_size: float
    device: str = "cpu"
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    condition: tuple[float, ...] = ()
    with_spread: bool = False
    precision: str = "float32"

    def told(self, condition: Sequence[float]) -> BlockPredictor:
        """Return the predictor of a map of which the net is told so much (see `emres.model.condition`)."""
        return replace(self, condition=tuple(map(float, condition)))

    @property
    def _where(self) -> str:
        """The device: not this machine's but the worker's is asked, where the block is computed."""
        return self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"

    def __call__(self, density: Array, mask: Array, pattern: Array | None = None, *, core: Box | None = None) -> Array:
        """Predict where the mask is True.

        Parameters
        ----------
        density : (z, y, x) float32
            Normalised as the contract says, on the working grid; index 0 lies on a multiple of the net's.
        mask : (z, y, x) bool
        pattern : (z, y, x) float32, optional
            What the local power shows, for a net that is told of it.
        core : Box, optional
            The part that is wanted; the rest of the density is context. All of it by default.

        Returns
        -------
        (z, y, x) float32, or of ``RESOLUTION_AND_SPREAD`` if the uncertainty was asked for
            Å; 0 where the mask is False, and outside the core.

        Raises
        ------
        UsageError
            If the shapes differ, or not even the smallest box fits the memory.
        ModelError, IntegrityError
            If the bundle cannot be opened or holds other weights than planned.
        """
        if density.shape != mask.shape or density.ndim != 3:
            raise UsageError(
                "density and mask are not one block",
                got=f"{density.shape} and {mask.shape}",
                expected="the same (z, y, x)",
            )
        answer = np.zeros(density.shape, dtype=RESOLUTION_AND_SPREAD if self.with_spread else np.float32)
        if core is not None:
            mask = _only(mask, core)
        if not mask.any():
            return answer
        net, contract = opened_net(self.folder, self.weights_sha256, self._where)
        largest = _memory_of(self._where, self.memory_bytes) // contract.bytes_per_voxel
        for box in cover_mask(mask, multiple=contract.multiple, halo=contract.halo, largest=largest):
            for part, found in self._predict_parts(net, contract, (density, pattern), box):
                target = part.clipped(density.shape)
                held, inside = Box((0, 0, 0), target.shape).slices, mask[target.slices]
                for name, values in found.items():
                    (answer[name] if self.with_spread else answer)[target.slices] = np.where(inside, values[held], 0)
        return answer

    def _predict_parts(
        self, net: nn.Module, contract: Contract, inputs: Inputs, box: Box
    ) -> Iterator[tuple[Box, dict[str, Array]]]:
        """Yield a box and its answer; one that the memory does not hold after all, half by half."""
        try:
            found = self._predict_box(net, contract, inputs, box)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            parts = halved(box, contract.multiple)
        else:
            yield box, found
            return
        free_cached()  # here the error, and with it all that the attempt held, is gone
        for part in parts:
            yield from self._predict_parts(net, contract, inputs, part)

    def _predict_box(self, net: nn.Module, contract: Contract, inputs: Inputs, box: Box) -> dict[str, Array]:
        """Return Å in a box, which may reach beyond the far faces: the resolution, and its spread if that is wanted."""
        padded = Box((0, 0, 0), inputs[0].shape).aligned(contract.multiple)
        read = box.grown(contract.halo).clipped(padded.shape)
        density, *pattern = (read_box(part, read) for part in inputs if part is not None)
        told: dict[str, Any] = {"condition": [self.condition]} if contract.conditioned else {}
        if contract.patterned and pattern:
            told["pattern"] = pattern[0][None, None]
        answer = _forward(net, density, self._where, _margins(box, read), told, self.precision)
        return {name: values.cpu().numpy() for name, values in self._in_angstrom(answer, contract).items()}

    @torch.inference_mode()
    def _in_angstrom(self, answer: Tensor, contract: Contract) -> dict[str, Tensor]:
        """Return what a net answers, (channel, z, y, x), in Å."""
        if contract.output == ANGSTROM:
            return {"resolution": answer[0]}
        finest, coarsest = contract.valid_range
        resolution = answer[0].exp().clamp_(finest, coarsest).mul_(self.working_voxel_size)
        found = {"resolution": resolution}
        if self.with_spread:
            found["spread"] = answer[1].exp().mul_(contract.spread_factor).mul_(resolution)
        return found


def make_predictor(
    folder: Path | str,
    *,
    working_voxel_size: float | None = None,
    device: str = "cpu",
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    with_spread: bool | None = None,
) -> BlockPredictor:
    """Build a predictor from a bundle's contract, without loading its weights.

    Parameters
    ----------
    folder : path
        A model bundle.
    working_voxel_size : float, optional
        Å; the contract's finest grid by default. ``contract.working_voxel_size(voxel_size)`` chooses it for a map.
    device : str
    memory_bytes : int
    with_spread : bool, optional
        Give the uncertainty too; by default wherever the net tells it.

    Returns
    -------
    BlockPredictor

    Raises
    ------
    ModelError
        If the folder is not a bundle.
    """
    contract = read_contract(folder)
    size = contract.voxel_size if working_voxel_size is None else working_voxel_size
    spread = contract.conditioned if with_spread is None else with_spread
    return BlockPredictor(str(folder), contract.weights_sha256, float(size), device, memory_bytes, with_spread=spread)


def _memory_of(device: str, otherwise: int) -> int:
    """Return what the net may take for one box on a device."""
    if torch.device(device).type != "cuda":
        return otherwise
    return box_on_gpu(torch.cuda.get_device_properties(device).total_memory)


def _only(mask: Array, core: Box) -> Array:
    """Return the mask with nothing outside a box."""
    if core.shape == mask.shape:
        return mask
    inside = np.zeros_like(mask)
    inside[core.slices] = mask[core.slices]
    return inside


def _margins(box: Box, read: Box) -> Margins:
    """Return how far a box that was read reaches beyond the box whose answer is wanted, before and after each axis."""
    z, y, x = zip(
        (a - b for a, b in zip(box.start, read.start, strict=True)),
        (b - a for a, b in zip(box.stop, read.stop, strict=True)),
        strict=True,
    )
    return z, y, x


def _forward(
    net: nn.Module, density: Array, device: str, margins: Margins, told: dict[str, Any], precision: str = "float32"
) -> Tensor:
    """Run the net on one (z, y, x) box; the answer (channel, z, y, x) comes without the margins, and stays there."""
    kind = torch.device(device).type
    half = torch.autocast(kind, getattr(torch, precision), enabled=precision != "float32")
    with torch.inference_mode(), half:
        values = torch.from_numpy(np.ascontiguousarray(density, dtype=np.float32)[None, None]).to(device)
        known = {name: torch.tensor(numbers, dtype=torch.float32, device=device) for name, numbers in told.items()}
        found: Tensor = net(values, margins, **known)[0].float()
        return found


_nets: dict[tuple[str, str, str], tuple[nn.Module, Contract]] = {}
_lock = threading.Lock()


def opened_net(folder: str, weights_sha256: str, device: str) -> tuple[nn.Module, Contract]:
    """Return the net ready to run, opened once per process."""
    key = (folder, weights_sha256, device)
    with _lock:
        if key not in _nets:
            _nets[key] = _open(folder, weights_sha256, device)
        return _nets[key]


def _open(folder: str, weights_sha256: str, device: str) -> tuple[nn.Module, Contract]:
    bundle = open_bundle(folder)
    if bundle.contract.weights_sha256 != weights_sha256:
        raise ModelError(
            f"the model in {folder} changed since the run was planned",
            got=f"weights {bundle.contract.weights_sha256[:16]}…",
            expected=f"{weights_sha256[:16]}…",
            cure="start the run again",
        )
    net = bundle.net.folded() if isinstance(bundle.net, TwoLevelUNet) else bundle.net
    # Channels last is what the CPU's convolutions are written for: 1.3-2.5 times faster here.
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return net.to(device), bundle.contract
