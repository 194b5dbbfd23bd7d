"""Model name -> folder of its bundle."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from emres.archive.attributes import check_name
from emres.errors import UsageError

DEFAULT_MODEL = "emres-small"


def models_folder() -> Path:
    """Return where models of one's own are kept: ``$EMRES_MODELS``, else ``~/.local/share/emres/models``."""
    given = os.environ.get("EMRES_MODELS")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(given) if given else data / "emres" / "models"


def own_models() -> list[str]:
    """Return the names of the models that were imported on this machine."""
    return sorted(path.parent.name for path in models_folder().glob("*/contract.json"))


def own_model(name: str) -> Path:
    """Return the folder of a model of one's own; it need not exist yet.

    ``legacy:dropout`` is a way to write ``legacy-dropout``.

    Raises
    ------
    UsageError
        If the name could leave its folder, or is that of a model that ships with emres.
    """
    name = check_name(name.replace(":", "-"), "name of a model")
    if name in embedded_models():
        raise UsageError(f"{name} ships with emres", cure="choose another name")
    return models_folder() / name


def embedded_models() -> list[str]:
    """Return the names of the models that ship with emres.

    Examples
    --------
    >>> "emres-small" in embedded_models()
    True
    """
    return sorted(folder.name for folder in _weights_folder().iterdir() if (folder / "contract.json").is_file())


def embedded_model(name: str = DEFAULT_MODEL) -> Path:
    """Return the folder of a model that ships with emres.

    Parameters
    ----------
    name : str

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If emres ships no such model; the sentence lists those it does.
    """
    if name not in embedded_models():
        raise UsageError(
            "unknown model",
            got=name,
            expected=" or ".join([*embedded_models(), *own_models()]),
            cure="give one of these names, or the folder of a bundle",
        )
    return _weights_folder() / name


def find_model(name_or_path: str | Path = DEFAULT_MODEL) -> Path:
    """Return the folder of a model, given by name or by path.

    Parameters
    ----------
    name_or_path : str or path
        ``emres-small``, the name of an imported model, or a folder that holds a bundle. A name wins over a folder of
        that name; ``./emres-small`` means the folder.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If it is neither.
    """
    name = str(name_or_path)
    if name.replace(":", "-") in own_models():
        return own_model(name)
    if name in embedded_models() or not Path(name_or_path).is_dir():
        return embedded_model(name)
    return Path(name_or_path)


def _weights_folder() -> Path:
    # The package is always installed as plain files (torch could not map weights from inside a zip anyway).
    return Path(str(files("emres") / "model" / "weights"))
