"""Names of networks on the command line: what is meant by a misspelt one is suggested."""

from __future__ import annotations

from npconv.geometry import one_of
from npconv.models import NETWORKS


def network_name(argument: str, given: str) -> str:
    """The name of a network of `npconv.models.NETWORKS`.

    >>> network_name("MODEL", "mobilenet_v1")
    'mobilenet_v1'
    """
    return one_of(argument, given, sorted(NETWORKS))
