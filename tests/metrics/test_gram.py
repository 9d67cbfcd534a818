"""Both ways to a triangle of xᵀx give that triangle, added to what was there."""

import pytest
import torch

from rs_course.metrics import gram


@pytest.mark.parametrize("add", [gram.by_blas, gram.by_panels, gram.add_gram])
@pytest.mark.parametrize("width", [1, 5, 64, 203])
def test_lower_triangle_is_added(add, width):
    generator = torch.Generator().manual_seed(width)
    x = torch.randn(90, width, generator=generator, dtype=torch.float64)
    before = torch.randn(width, width, generator=generator, dtype=torch.float64)
    total = before.clone()
    add(total, x)
    torch.testing.assert_close(total.tril(), (before + x.T @ x).tril(), rtol=1e-12, atol=1e-12)


def test_one_way_is_kept_for_the_process():
    assert gram._fastest() is gram._fastest() and gram._fastest() in (gram.by_blas, gram.by_panels)
