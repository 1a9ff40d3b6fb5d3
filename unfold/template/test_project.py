"""pytest test_project.py: properties that the parts here should keep, however you change them."""

from pathlib import Path

import numpy as np
import torch

import unfold

HERE = Path(__file__).parent


def test_tiles_give_what_the_whole_picture_gives() -> None:
    net = unfold.create_model(f"{HERE / 'ista.py'}:ISTANet", stages=2, features=4).eval()
    picture = np.random.default_rng(0).random((96, 80, 3), np.float32)
    mask = (np.random.default_rng(1).random((96, 80)) > 0.3).astype(np.float32)
    with torch.no_grad():
        whole = unfold.restore(picture * mask[..., None], net, tile=None, mask=mask)
        tiles = unfold.restore(picture * mask[..., None], net, tile=64, mask=mask)
    assert np.abs(whole - tiles).max() < 1e-5


def test_what_is_known_stays_where_the_step_is_one() -> None:
    net = unfold.create_model(f"{HERE / 'ista.py'}:ISTANet", stages=1, features=4).eval()
    torch.nn.init.zeros_(net.backward_transform[2].weight)
    torch.nn.init.zeros_(net.backward_transform[2].bias)
    y, mask = torch.rand(1, 3, 16, 16), (torch.rand(1, 1, 16, 16) > 0.3).float()
    with torch.no_grad():
        x = net(y * mask, mask=mask)
    assert torch.allclose(x * mask, y * mask)
