"""A run in TensorBoard: the log's figures, pictures of every stage, and the learned numbers of the stages."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import evaluate_network
from unfold.models.run_on_arrays import Image, as_tensors
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample, sample_of, windowed
from unfold.report.picture_strip import Panel, some_stages, strip

FOLDER = "board"
IMAGES, STAGES, SIDE = 3, 4, 128  # validation images shown, stages shown before the last, pixels of a crop


def check_installed() -> None:
    """UnfoldError if TensorBoard is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UnfoldError(
            "TRAIN.BOARD true writes for TensorBoard, which is missing: pip install 'unfold-restoration[log]'"
        )


class Board:
    """Event files in the folder ``board`` of a run.

    step: that the run resumes from, 0 at its start; events of earlier starts beyond it are hidden. net, protocol,
    cases, device: of the validation. The same images are shown every time.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        net: UnfoldingNetwork,
        protocol: Protocol,
        cases: Sequence[Case],
        device: torch.device,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.net, self.protocol, self.device = net, protocol, device
        places = np.linspace(0, len(cases) - 1, min(IMAGES, len(cases)))
        self.cases = [cases[round(place)] for place in places]
        self._writer: Any = SummaryWriter(str(folder / FOLDER), purge_step=step + 1 if step else None)

    def add(self, row: dict[str, Any]) -> None:
        """Write the figures of a row of the log."""
        for name, value in row.items():
            if isinstance(value, (int, float)) and name != "step":
                self._writer.add_scalar(f"run/{name}", value, row["step"])
        self._writer.flush()

    def look(self, step: int) -> None:
        """Write pictures of the stages of each image; for the first one, PSNR by stage and the network's
        :meth:`numbers`.
        """
        training = self.net.training
        self.net.eval()
        for number, case in enumerate(self.cases):
            protocol, alone = self.protocol.of(case)
            sample = sample_of(protocol, alone)
            score, stages = evaluate_network(self.net, protocol, sample, self.device)
            start, steps = self._begin(sample)
            panels = self._panels(protocol, sample, start, stages, score.stages)
            self._writer.add_image(f"stages/{case.name}", np.asarray(strip(panels, SIDE)), step, dataformats="HWC")
            if number == 0:
                for name, values in {"psnr": score.stages, **steps}.items():
                    for k, value in enumerate(values, 1):
                        self._writer.add_scalar(f"{name}_of_stage/{k}", value, step)
        self.net.train(training)

    @torch.inference_mode()
    def _begin(self, sample: Sample) -> tuple[Image, dict[str, list[float]]]:
        """x_0, and the scalars of all stages."""
        x, context = self.net.begin(**as_tensors(sample.inputs, self.net, self.device))
        start = self.net.finish(x, context)[0].permute(1, 2, 0).float().cpu().numpy()
        stages = [self.net.numbers(k, context) for k in range(self.net.stages)]
        steps = {name: [float(stage[name].flatten()[0]) for stage in stages] for name in stages[0]}
        return start, steps

    @staticmethod
    def _panels(
        protocol: Protocol, sample: Sample, start: Image, stages: list[Image], quality: list[float]
    ) -> list[Panel]:
        def finished(image: Image) -> Image:
            return protocol.finish(windowed(image, sample.window))

        assert sample.target is not None
        start = finished(start)
        first = Panel(_picture(start), "start", protocol.score(start, sample.target)["psnr"])
        chosen = [*some_stages(len(stages), STAGES), len(stages) - 1]
        shown = [Panel(_picture(finished(stages[k])), f"stage {k + 1}", quality[k]) for k in chosen]
        return [first, *shown, Panel(_picture(sample.target), "target", None)]


def _picture(image: Image) -> NDArray[np.float32]:
    """The image as (H,W,3) in [0,1]; grey is repeated, and values that are not finite are replaced."""
    whole = image.astype(np.float32) / np.float32(255 if image.dtype == np.uint8 else 1)
    return np.repeat(np.nan_to_num(whole), 3 // image.shape[2], axis=2)
