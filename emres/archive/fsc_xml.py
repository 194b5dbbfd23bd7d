"""FSC curves as EMDB keeps them: ``fsc/emd_N_fsc.xml``, and what its deposition takes."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from emres.errors import UsageError


def fsc_xml(frequency: Sequence[float], fsc: Sequence[float], title: str) -> str:
    """Return one FSC curve as EMDB's XML.

    Parameters
    ----------
    frequency : (shells,) 1/Å
    fsc : (shells,)
    title : str

    Returns
    -------
    str
        The document, with its declaration.

    Raises
    ------
    UsageError
        If the two differ in length.

    Examples
    --------
    >>> print(fsc_xml([0.0, 0.1], [1.0, 0.987654321], "emres"))
    <?xml version="1.0" encoding="UTF-8"?>
    <fsc title="emres" xaxis="Resolution (A-1)" yaxis="Correlation Coefficient">
      <coordinate>
        <x>0.000000</x>
        <y>1.000000</y>
      </coordinate>
      <coordinate>
        <x>0.100000</x>
        <y>0.987654</y>
      </coordinate>
    </fsc>
    <BLANKLINE>
    """
    if len(frequency) != len(fsc):
        raise UsageError("an FSC curve does not fit its frequencies", got=f"{len(fsc)}", expected=f"{len(frequency)}")
    axes = {"xaxis": "Resolution (A-1)", "yaxis": "Correlation Coefficient"}
    root = ElementTree.Element("fsc", {"title": title, **axes})
    for x, y in zip(frequency, fsc, strict=True):
        point = ElementTree.SubElement(root, "coordinate")
        ElementTree.SubElement(point, "x").text = f"{x:.6f}"
        ElementTree.SubElement(point, "y").text = f"{y:.6f}"
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'
