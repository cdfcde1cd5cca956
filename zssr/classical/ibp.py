"""Iterative back-projection (Irani and Peleg 1991)."""

from torch import Tensor

from zssr.classical.data_term import REACH, DataTerm
from zssr.degradation import Degradation
from zssr.geometry import Factors
from zssr.method import Method


def back_project_fully(
    large: Tensor, small: Tensor, degradation: Degradation, offset: Factors, *, iterations: int
) -> Tensor:
    """Add the transposed downsampling of the error to `large` until the error is that of the photo's noise."""
    return descend(large, DataTerm.of_photo(small, (large.shape[-2], large.shape[-1]), degradation, offset), iterations)


def descend(large: Tensor, term: DataTerm, iterations: int) -> Tensor:
    """Add the transposed error to `large` until the error is that of the noise.

    The error never grows (Landweber 1951): a step is one over the largest eigenvalue. Unlike `back_project` this goes
    on for as long as it helps, and with noise, too.
    """
    for _ in range(iterations):
        error = term.error(large)
        if term.measure(error) <= term.noise:
            break
        large = large + term.correct(error)
    return large


METHOD = Method(
    name="ibp",
    summary="reconstruction: iterative back-projection of what the shrunk result lacks",
    paper="Irani and Peleg 1991",
    reconstruct=back_project_fully,
    reach=lambda _: REACH,
    options={"iterations": 100},
)
