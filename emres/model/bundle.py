"""A model on disk: weights (safetensors) + contract (JSON) + card (Markdown) in one folder.

Opening a bundle executes nothing from the folder: the architecture's name is looked up in a fixed table (then among the
installed packages that bring one), weights are plain tensors whose hash the contract states, and a small self-test
proves that this machine computes what the training machine did.
"""

from __future__ import annotations

import hashlib
import html
import inspect
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from emres.errors import IntegrityError, ModelError
from emres.model.condition import LENGTH, STRIPPED
from emres.model.conditioned import ConditionedUNet
from emres.model.contract import CONTRACT_FILE, Contract, read_contract
from emres.model.legacy import LegacyUNet
from emres.model.unet import CompactUNet

WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "card.md"
SELF_TEST_TOLERANCE = 1e-3

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "compact_unet": CompactUNet,
    "conditioned_unet": ConditionedUNet,
    "legacy_unet": LegacyUNet,
}


@dataclass(frozen=True)
class ModelBundle:
    """A net in evaluation mode together with its contract."""

    net: nn.Module
    contract: Contract
    folder: Path | None = None

    @property
    def name_version(self) -> str:
        """``emres-small@0.2``."""
        return self.contract.name_version

    def _repr_html_(self) -> str:
        shown = (
            "architecture",
            "arguments",
            "voxel_size",
            "octaves",
            "multiple",
            "halo",
            "valid_range",
            "normalisation",
        )
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td>{html.escape(str(getattr(self.contract, name)))}</td></tr>"
            for name in shown
        )
        parameters = sum(weight.numel() for weight in self.net.parameters())
        return (
            f"<b>{html.escape(self.name_version)}</b>, local resolution in Å, {parameters:,} parameters"
            f"<table>{rows}</table>"
        )


def build_net(architecture: str, arguments: dict[str, int]) -> nn.Module:
    """Construct an architecture with fresh weights: of the fixed table, else one that an installed package brings.

    The latter, by the entry point group ``emres.architectures``, executes that package's code: see
    :mod:`emres.model.plugged`. Installing it is the consent; a bundle alone never has anything executed.

    Raises
    ------
    ModelError
        If nobody knows such an architecture, it takes no such arguments, or the package is broken.
    """
    try:
        integers = {name: int(value) for name, value in arguments.items()}
        if architecture in ARCHITECTURES:
            return ARCHITECTURES[architecture](**integers)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"architecture {architecture} cannot be built from {arguments}") from error
    from emres.model.plugged import plugged_net, unknown

    net = plugged_net(architecture, integers)
    if net is None:
        raise unknown(architecture, sorted(ARCHITECTURES))
    return net


def all_arguments(architecture: str, arguments: dict[str, int]) -> dict[str, int]:
    """Return the arguments of an architecture with those that are left to their defaults.

    Examples
    --------
    >>> all_arguments("conditioned_unet", {"channels": 8})
    {'channels': 8, 'deep_channels': 64, 'deep_layers': 3, 'bands': 16, 'members': 2}
    """
    if architecture not in ARCHITECTURES:
        return dict(arguments)
    known = inspect.signature(ARCHITECTURES[architecture]).parameters
    return {name: arguments.get(name, one.default) for name, one in known.items()}


def self_test_input(multiple: int = 4) -> torch.Tensor:
    """Return the density on which a bundle proves itself: waves of two lengths in a ball.

    (1, 1, 24, 24, 32) float32, or as much more as the net's multiple asks for.
    """
    sides = (-(-n // multiple) * multiple for n in (24, 24, 32))
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in sides), indexing="ij")
    waves = torch.sin(0.9 * z) * torch.cos(0.7 * y + 0.3 * x) + 0.5 * torch.sin(2.1 * x + 1.3 * y)
    ball = torch.exp(-((z - 12) ** 2 + (y - 11) ** 2 + (x - 15) ** 2) / 60)
    return (waves * ball * 3).to(torch.float32)[None, None]


def self_test_condition() -> torch.Tensor:
    """Return what a conditioned net is told of the self-test input: a spectrum that falls, nothing beside it."""
    numbers = torch.zeros(1, LENGTH + 1)
    numbers[0, : STRIPPED // 2] = torch.linspace(1, -2, STRIPPED // 2)
    return numbers


def self_test_statistics(net: nn.Module) -> dict[str, float]:
    """Return mean, standard deviation, minimum and maximum of the net's answer to the self-test input."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        density = self_test_input(int(net.multiple)).to(device)  # type: ignore[arg-type]
        told = {"condition": self_test_condition().to(device)} if getattr(net, "conditioned", False) else {}
        if getattr(net, "patterned", False):
            told["pattern"] = density.roll(5, -1) / 10
        answer = net(density, **told).double()
    named = {"mean": answer.mean(), "std": answer.std(), "min": answer.min(), "max": answer.max()}
    return {name: round(float(value), 6) for name, value in named.items()}


def save_bundle(folder: Path | str, net: nn.Module, contract: Contract, card: str) -> Contract:
    """Write a bundle; the hash, the self-test numbers and whether the net reads a pattern are filled in.

    Parameters
    ----------
    folder : path
        Made if missing; each file is written beside its place and moved.
    net : torch.nn.Module
        Built by ``build_net(contract.architecture, contract.arguments)``; normalisations not folded.
    contract : Contract
    card : str
        Markdown: what the model is, its measured errors, where it fails.

    Returns
    -------
    Contract
        As written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    net.eval()
    weights = safetensors.torch.save(
        {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    )
    digest = hashlib.sha256(weights).hexdigest()
    facts = {"weights_sha256": digest, "self_test": self_test_statistics(net)}
    record = asdict(contract) | facts | {"patterned": bool(getattr(net, "patterned", False))}
    written = Contract.from_json(json.dumps(record))
    files = {WEIGHTS_FILE: weights, CARD_FILE: card.encode(), CONTRACT_FILE: written.to_json().encode()}
    for name, content in files.items():
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        os.replace(partial, folder / name)
    return written


def open_bundle(folder: Path | str) -> ModelBundle:
    """Open a bundle: verify the weights, build the net, run its self-test.

    Parameters
    ----------
    folder : path
        Holds ``contract.json``, ``weights.safetensors`` and ``card.md``.

    Returns
    -------
    ModelBundle
        The net is in evaluation mode, on the CPU.

    Raises
    ------
    ModelError
        If it is no bundle, of a newer format, or its weights do not fit its architecture.
    IntegrityError
        If the weights are not those that the contract states, or the net does not answer as it should.
    """
    folder = Path(folder)
    contract = read_contract(folder)
    net = build_net(contract.architecture, contract.arguments)
    _load_weights(net, folder / WEIGHTS_FILE, contract)
    _check_geometry(net, contract)
    _check_self_test(net, contract)
    return ModelBundle(net, contract, folder)


def _load_weights(net: nn.Module, path: Path, contract: Contract) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})", cure="fetch or export the model again") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != contract.weights_sha256:
        raise IntegrityError(
            f"{path} is not what its contract states",
            got=f"sha256 {digest[:16]}…",
            expected=f"{contract.weights_sha256[:16]}…",
            cure="fetch or export the model again",
        )
    try:
        net.load_state_dict(safetensors.torch.load(content))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"{path} does not fit the architecture {contract.architecture} {contract.arguments}",
            cure="export the model again",
        ) from error
    net.eval()


def _check_geometry(net: nn.Module, contract: Contract) -> None:
    multiple, radius = int(net.multiple), int(net.receptive_radius)  # type: ignore[arg-type]
    if contract.multiple % multiple or contract.halo < radius:
        raise ModelError(
            f"the contract of {contract.name_version} would cut blocks wrongly",
            got=f"multiple {contract.multiple}, halo {contract.halo}",
            expected=f"a multiple of {multiple} and at least {radius}",
            cure="export the model again",
        )


def _check_self_test(net: nn.Module, contract: Contract) -> None:
    found = self_test_statistics(net)
    wrong = {
        name: (found.get(name, math.nan), value)
        for name, value in contract.self_test.items()
        if not abs(found.get(name, math.nan) - value) <= SELF_TEST_TOLERANCE
    }
    if wrong or not contract.self_test:
        raise IntegrityError(
            f"{contract.name_version} does not answer its self-test as it should on this machine",
            got=str(found),
            expected=str(contract.self_test),
            cure="fetch or export the model again",
        )
