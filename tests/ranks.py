"""Processes of one training run as torchrun starts them, but quickly: forked from one that has imported all."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.narrow import NAMES, inputs, narrow, of_sample
from unfold.cli import main
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import MSE
from unfold.training.processes.distributed import Processes, processes
from unfold.training.setup import build_run
from unfold.training.train_step import Update
from unfold.util.device import place

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.ranks"])
Ended = tuple[int | None, str, str]  # exit code, stdout, stderr


def start(world: int, folder: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Start ``work(*arguments)`` in every process; what they print goes to files in the folder."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [CONTEXT.Process(target=_begin, args=(rank, world, port, folder, work, arguments)) for rank in range(world)]
    for rank in ranks:
        rank.start()
    return ranks


def ended(ranks: list[Any], folder: Path, seconds: float = 100) -> list[Ended]:
    """Wait for them; the exit code is None of one that had to be killed."""
    results: list[Ended] = []
    for number, rank in enumerate(ranks):
        rank.join(seconds)
        code = rank.exitcode
        if code is None:
            rank.kill()
        results.append((code, *((folder / f"{number}.{name}").read_text() for name in ("out", "err"))))
    return results


def _begin(rank: int, world: int, port: int, folder: Path, work: Callable[..., Any], arguments: Any) -> None:
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # of workers, as in a process of its own
    names = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()} | {"GLOO_SOCKET_IFNAME": "lo"}
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    code: Any = 1
    try:
        code = work(*arguments)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()  # which a forked process does not
    sys.exit(code)


def commands(argv: list[str], rank: int = -1, at: int = 0, what: str = "") -> int:
    """The command line; in one process, something happens at the step that is counted so from 0."""
    step, me = Update.__call__, int(os.environ["RANK"])
    if what == "missing":  # in each process's environment, as on machines of their own
        folder = Path(argv[argv.index("--config") + 1]).parent / "pictures"
        os.environ["PICTURES"] = "/nowhere" if me == rank else str(folder)
    done = iter(range(1000))

    def eventful(self: Update, *arguments: Any) -> Tensor:
        if next(done) == at and me == rank:
            happen(what)
        return step(self, *arguments)

    Update.__call__ = eventful  # type: ignore[method-assign]
    if (what, me) == ("unreadable", rank):
        build_run.build_store = lambda *_: happen(what)  # type: ignore[assignment]
    if (what, me) == ("another recipe", rank):
        argv = [*argv, "OPTIM.LR", "0.5"]
    if what == "no recipe":
        argv = ["train", "--config", "none.yaml"]
    return main(argv)


def happen(what: str) -> Any:
    if what in ("SIGTERM", "SIGKILL"):
        signal.raise_signal(signal.Signals[what])
    if what == "worker":
        multiprocessing.active_children()[0].kill()
    if what == "unreadable":
        raise UnfoldError("an image here cannot be read")
    if what == "memory":
        raise MemoryError
    if what == "bad image":
        raise UnfoldError("picture2.png cannot be read")
    if what == "mistake":
        raise RuntimeError("a mistake of ours")


def gradients(us: Processes, folder: Path) -> None:
    """Write the gradients of one step of every narrow network on a batch of six, in two precisions."""
    for name in NAMES:
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(0)
            net, given = narrow(name).to(dtype).train(), inputs(name, 6, 32, 32, dtype)
            size = 64 if name == "usrnet" else 32
            batch = {"target": torch.rand(6, net.channels, size, size, dtype=dtype), **given}
            mine = slice(6 * us.rank // us.world, 6 * (us.rank + 1) // us.world)
            part = {key: value[mine] if isinstance(value, Tensor) else value for key, value in batch.items()}
            optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
            Update(net, us.wrap(net, of_sample(given, 0)), TotalLoss([Term(MSE())]), optimizer)(part)
            if us.first:
                found = {key: p.grad for key, p in net.named_parameters() if p.grad is not None}
                torch.save(found, folder / f"{name}_{str(dtype)[6:]}.pth")


def numbers(recipe: Path, folder: Path, cases: dict[str, str]) -> int:
    """Train by the recipe with the words of each case, in float64 where its name says so, into folder/case; and
    :func:`gradients`.
    """
    with processes(print, lambda error: 1) as us:
        us.join("cpu")
        gradients(us, folder)
        for name, words in cases.items():
            cfg = load_config(recipe, [*words.split(), "OUTPUT", str(folder / name)])
            double = name.startswith("float64")
            build_run.place = lambda net, device, double=double: place(net.double() if double else net, device)
            trainer = build_run.build_trainer(cfg, processes=us)
            render, loss = trainer.render, trainer.update.loss
            if double:
                trainer.validate = lambda: {"none": 0.0}
                trainer.render = lambda *given, render=render: {k: v.double() for k, v in render(*given).items()}

            def spoiled(stages: Any, target: Tensor, trainer: Any = trainer, loss: Any = loss) -> Tensor:
                bad = trainer.step == 5 and us.rank == us.world - 1
                return loss(stages, target) * (torch.nan if bad else 1)

            trainer.update.loss = spoiled
            trainer.fit()
            mine = {name: value.clone() for name, value in trainer.update.net.state_dict().items()}
            for other in us.gather(mine):
                assert all(torch.equal(value, other[name]) for name, value in mine.items())
    return 0
