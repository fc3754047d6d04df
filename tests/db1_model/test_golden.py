from __future__ import annotations

from pathlib import Path

import pytest

from db1_model.parity import check_parity

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="needs the published model's outputs in ../shared/golden")


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_every_logit_loss_and_gradient_is_db1s(norm: str) -> None:
    parity = check_parity(GOLDEN / f"tiny_{norm}")

    assert len(parity.differences) == 11
    assert (parity.failed, parity.absent, parity.unknown) == ((), (), ())
