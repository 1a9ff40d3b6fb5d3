"""Weights by name: those that the papers' authors published, with their sources, and our own.

The weights of each network are listed in unfold/models/known.
"""

from __future__ import annotations

from unfold.models.known import dgunet_weights, hqs_denoiser_weights, ista_net_weights, nrl_gdn_weights, usrnet_weights

LICENCE = "The authors state no licence for these weights: ask them before you pass any on."
_USRNET, _DGUNET, _NRL_GDN = usrnet_weights.WEIGHTS, dgunet_weights.WEIGHTS, nrl_gdn_weights.WEIGHTS
_HQS = hqs_denoiser_weights.WEIGHTS
_ALL = [
    # As their cards in pretrained/README.md.
    *(weights for weights in (*_USRNET, *_HQS, *_NRL_GDN, *_DGUNET) if weights.ours),
    *(weights for weights in (*_USRNET, *_DGUNET, *_NRL_GDN) if not weights.ours),
    *ista_net_weights.WEIGHTS,
]
WEIGHTS = {weights.name: weights for weights in _ALL}
