"""Model name -> folder of its bundle."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from emres.errors import UsageError

DEFAULT_MODEL = "emres-small"


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
            expected=" or ".join(embedded_models()),
            cure="give one of these names, or the folder of a bundle",
        )
    return _weights_folder() / name


def find_model(name_or_path: str | Path = DEFAULT_MODEL) -> Path:
    """Return the folder of a model, given by name or by path.

    Parameters
    ----------
    name_or_path : str or path
        ``emres-small``, or a folder that holds a bundle. A name that ships with emres wins over a folder of that
        name; ``./emres-small`` means the folder.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If it is neither.
    """
    name = str(name_or_path)
    if name in embedded_models() or not Path(name_or_path).is_dir():
        return embedded_model(name)
    return Path(name_or_path)


def _weights_folder() -> Path:
    # The package is always installed as plain files (torch could not map weights from inside a zip anyway).
    return Path(str(files("emres") / "model" / "weights"))
