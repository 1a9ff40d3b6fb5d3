"""Weights of ISTA-Net and ISTA-Net+ that their authors published."""

from __future__ import annotations

from unfold.models.known.weight_facts import Weights

ISTA_NET = "the authors' repository on GitHub, jianzhangcs/ISTA-Net-PyTorch, folder model"
_SHA256 = {
    "ista_net_cs_25": "01c25cb453749c7ee8bf9082878647884db6f1c2012f03016ab12635d4c02600",
    "ista_net_plus_cs_10": "3bf165e7799128d4715c1330d0d2b5ea82d2c91e2723f3de0de3c62229e85ca0",
    "ista_net_plus_cs_25": "1a29f3cde39ca3c5090396c743434b6ed2df74ebabc39402c7d372f467f248a8",
    "ista_net_plus_mri_20": "f2156d5e605d9f79dfcb62ca8db9979a637e19612ea169b7d7e3a5f6701d1254",
}


def _weights(model: str, name: str, ratio: int, beside: dict[str, str]) -> Weights:
    """The file names are ours: the published files all have one name, in different folders."""
    sha256 = _SHA256.get(name)
    return Weights(name, model, f"{name}.pkl", ISTA_NET, sha256, options={"ratio": ratio}, beside=beside)


WEIGHTS = [
    *(
        _weights(
            model,
            f"{model}_cs_{ratio}",
            ratio,
            {"matrix": f"ista_net/phi_0_{ratio}_1089.mat", "initial": f"ista_net/Initialization_Matrix_{ratio}.mat"},
        )
        for model in ("ista_net", "ista_net_plus")
        for ratio in (1, 4, 10, 25, 30, 40, 50)
    ),
    *(_weights("ista_net_plus_mri", f"ista_net_plus_mri_{ratio}", ratio, {}) for ratio in (20, 30, 40, 50)),
]
