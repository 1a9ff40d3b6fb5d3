"""Find the network in a file: under any key, at any depth, with any prefix of its names."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.models.registry import list_networks
from unfold.models.unfolding import UnfoldingNetwork
from unfold.weights.recognise import recognise
from unfold.weights.refused_files import arrays_for_tensors, saving, some

logger = logging.getLogger("unfold")

State = dict[str, Tensor]
Judge = Callable[[Mapping[str, Tensor]], list[str]]  # the names of the network that fits a state dict; none otherwise

WRAPPERS = ("state_dict", "params_ema", "params", "net")  # keys of an unknown network; the first one counts
PREFIXES = ("module.", "_orig_mod.")  # prefixes that DataParallel and torch.compile add
INSIDE = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # and those within names
DEEPEST = 16  # nested dicts, and components of a prefix

# Keys that do not hold a network: an optimizer's moments have the names and shapes of the weights.
_OPTIMIZER = re.compile(
    r".*optim(?!al|i[sz]ed).*|(?:.*_)?(?:opt(?:_?[dg])?|adamw?|sgd|exp_avg|scheduler|grad_scaler|scaler)s?(?:_.*)?|"
    r"momentum(?:_buffers?)?|grad(?:ient)?s?"
)
_AVERAGE = re.compile(r"(?<!non_)(?<!no_)(?<!without_)(?<![a-z])(?:ema|swa|avg|averaged?|shadow|polyak)(?![a-z])")
_COMPANION = re.compile(
    r"(?:net_?)?d(?:is(?:c|criminator)?)?|discriminators?|.*_loss(?:es)?|loss(?:es)?(?:_.*)?|criterions?|criteria|"
    r"perceptual|vgg(?:\d+)?|lpips|metrics?|(?:train|val|valid|test)_(?:psnr|ssim|metrics?)|psnr|ssim|n_averaged"
)


@dataclass(frozen=True)
class Found:
    """A network in a file.

    key: its place, keys and prefixes joined by dots; names: networks that fit; beside: other parts of the same dict,
    with their numbers of tensors; average: whether the file states that it holds averages.
    """

    key: str
    state: State
    names: list[str]
    beside: dict[str, int]
    average: bool


def known_networks() -> Judge:
    """A judge that accepts the names and shapes of any network of the registry."""
    networks = list_networks()

    def judge(state: Mapping[str, Tensor]) -> list[str]:
        found = recognise(state, networks)
        return found[0] if found else []

    return judge


def such_as(net: UnfoldingNetwork) -> Judge:
    """A judge that accepts the names and shapes of one network: all used parameters must be present."""
    aliases: dict[int, list[str]] = {}
    own = net.state_dict(keep_vars=True)
    for name, value in own.items():
        if not re.fullmatch(net.unused_keys, name):
            aliases.setdefault(id(value), []).append(name)
    wanted = [(names, own[names[0]].shape) for names in aliases.values()]

    def judge(state: Mapping[str, Tensor]) -> list[str]:
        fits = all(any(name in state and state[name].shape == shape for name in names) for names, shape in wanted)
        return [type(net).__name__] if wanted and fits else []

    return judge


def choose_network(
    content: object,
    path: Path,
    key: str | None = None,
    name: str | None = None,
    like: Callable[[], UnfoldingNetwork] | None = None,
) -> tuple[str, State]:
    """The network's place in a file's content, and its state dict.

    Among copies of one network the moving average is taken, and logged. name: search only for this one of the known
    networks; like: makes a network, for one that is not known by name. key: search only there. Raises UnfoldError if
    there is no state dict, or several networks, which it lists.
    """
    dicts = {place: state for place, state in _dicts(content) if state}
    if not dicts:
        raise UnfoldError(
            f"{path} holds no state dict (names and tensors){_holds(content)}{arrays_for_tensors(content, path)}"
        )
    found: list[Found] = []
    if name is not None or like is None:
        known = _find(dicts, known_networks(), key)
        found = [one for one in known if name is None or name in one.names]
    if not found and like is not None:
        net = like()
        found = _find(dicts, such_as(net), key)
        found = [one for one in found if len(one.state) <= len(net.state_dict())] or found
    if not found and like is not None:  # another shape, or another network: the caller lists the differences
        half = len(net.state_dict()) // 2 + 1
        found = _best_matches(dicts, net, key, half) or _find(dicts, known_networks(), key)
        found = found or _best_matches(dicts, net, key, 1)
    if not found:
        return _unknown(dicts, content, path, key)
    chosen = _only_one(found, path)
    if key is None:
        _log_choice(chosen, found, dicts, path)
    return chosen.key, chosen.state


def _find(dicts: Mapping[str, State], judge: Judge, key: str | None) -> list[Found]:
    found = []
    for place, state in dicts.items():
        for one in _parts(state, place, judge):
            if one.names and _below(one.key, key):
                found.append(one)
    return found


def _below(place: str, key: str | None) -> bool:
    return not key or place == key or place.startswith(f"{key}.")


def _dicts(content: Any) -> Iterator[tuple[str, State]]:
    """The named tensors of every dict, with their place, outermost first; without those of optimizers."""
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    seen = {id(content)}
    while waiting:
        place, value = waiting.popleft()
        if not isinstance(value, Mapping):
            inner: list[tuple[str, Any]] = [
                (str(i), one) for i, one in enumerate(value) if isinstance(one, Mapping | list | tuple)
            ]
        elif "param_groups" in value:
            continue
        else:
            inner = [(key, one) for key, one in value.items() if isinstance(key, str)]
            yield ".".join(place), {key: one for key, one in inner if isinstance(one, Tensor)}
        for key, one in inner:
            nested = isinstance(one, Mapping | list | tuple) and len(place) < DEEPEST
            if nested and id(one) not in seen and not _OPTIMIZER.fullmatch(_words(key)):
                seen.add(id(one))
                waiting.append(((*place, key), one))


def _parts(state: State, place: str, judge: Judge) -> Iterator[Found]:
    """The networks in a state dict, by name prefix; a network contains no other."""
    cleaned = {INSIDE.sub("", name): value for name, value in state.items()}
    ways = [state] if len(cleaned) < len(state) or cleaned.keys() == state.keys() else [state, cleaned]
    for whole in ways:
        found = False
        waiting: deque[tuple[tuple[str, ...], State, bool]] = deque([((), whole, False)])
        while waiting:
            prefix, names, average = waiting.popleft()
            judged = judge(names)
            found = found or bool(judged)
            beside: dict[str, int] = {}
            if judged:
                names, companions = _without_companions(names, judge)
                for head in companions:
                    beside[".".join((*prefix, head))] = companions[head]
                for other, count in _others(whole, prefix).items():
                    beside[other] = count
            yield Found(".".join(filter(None, (place, *prefix))), names, judged, beside, average)
            if judged or len(prefix) == DEEPEST:
                continue
            children: dict[str, State] = {}
            for name, value in names.items():
                head, _, rest = name.partition(".")
                if rest:
                    children.setdefault(head, {})[rest] = value
            for head, child in children.items():
                if not _OPTIMIZER.fullmatch(_words(head)):
                    waiting.append(((*prefix, head), child, average or "n_averaged" in names))
        if found:
            return


def _without_companions(state: State, judge: Judge) -> tuple[State, dict[str, int]]:
    """A state dict without companions, such as a discriminator; and the companions."""
    heads: dict[str, int] = {}
    for name in state:
        head = name.partition(".")[0]
        if _COMPANION.fullmatch(_words(head)):
            heads[head] = heads.get(head, 0) + 1
    rest = {name: value for name, value in state.items() if name.partition(".")[0] not in heads}
    return (rest, heads) if heads and judge(rest) else (state, {})


def _others(whole: State, prefix: tuple[str, ...]) -> dict[str, int]:
    """Parts of a state dict outside a prefix, with their numbers of tensors."""
    others: dict[str, int] = {}
    for name in whole:
        parts = name.split(".", len(prefix))
        same = 0
        while same < len(prefix) and same < len(parts) and parts[same] == prefix[same]:
            same += 1
        if same < len(prefix) and parts[-1] != "n_averaged":
            part = ".".join(parts[: same + 1])
            others[part] = others.get(part, 0) + 1
    return others


def _only_one(found: list[Found], path: Path) -> Found:
    if len(found) == 1:
        return found[0]
    copies = all(_signature(one) == _signature(found[0]) for one in found)
    if copies:
        pool = [one for one in found if one.average or _AVERAGE.search(_words(one.key))] or found
        if all(_equal(one.state, pool[0].state) for one in pool[1:]):
            return pool[0]
    names = [f"{one.key or 'the dict itself'} ({' or '.join(one.names[:2])})" for one in found]
    raise UnfoldError(
        f"{path} holds several {'copies of one network' if copies else 'networks'}: {some(names)}; say which by "
        "--key KEY, in Python key= (`unfold convert --key KEY` makes a file of one)"
    )


def _signature(one: Found) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in one.state.items()}


def _equal(a: State, b: State) -> bool:
    return all(value is b[name] or torch.equal(value, b[name]) for name, value in a.items())


def _log_choice(chosen: Found, found: list[Found], dicts: Mapping[str, State], path: Path) -> None:
    """Log what is not taken from a file: copies and other networks, but not single numbers."""
    left = [one.key or "the dict itself" for one in found if one is not chosen]
    left += [f"{part} ({count} tensor{'s' * (count > 1)})" for part, count in chosen.beside.items() if part not in left]
    for place, state in dicts.items():
        weights = sum(value.ndim > 1 for value in state.values())
        if weights and not any(_below(one.key, place) for one in found) and not _below(chosen.key, place):
            left.append(f"{place} ({len(state)} tensor{'s' * (len(state) > 1)})")
    if not left:
        return
    average = chosen.average or _AVERAGE.search(_words(chosen.key))
    copies = len(found) > 1
    what = ", the moving average" if average and copies else ""
    logger.warning("note: %s: using %s%s; left out: %s", path, chosen.key or "the dict itself", what, some(left))


def _best_matches(dicts: Mapping[str, State], net: UnfoldingNetwork, key: str | None, least: int) -> list[Found]:
    """The parts that share the most names with a network, at least ``least``. Parts of a known network do not count."""
    own, known = net.state_dict().keys(), known_networks()
    found: list[Found] = []
    most = least
    for place, state in dicts.items():
        for one in _parts(state, place, known):
            same = sum(name in own for name in one.state)
            if same >= most and _below(one.key, key):
                found, most = [*(found if same == most else []), replace(one, names=[type(net).__name__])], same
    return found


def _unknown(dicts: Mapping[str, State], content: object, path: Path, key: str | None) -> tuple[str, State]:
    """A state dict of an unknown network."""
    if key is not None:
        for place, state in dicts.items():
            for one in _parts(state, place, lambda _: []):
                if one.key == key:
                    return one.key, one.state
        raise UnfoldError(f"{path} holds no tensors under the key {key!r}{_holds(content)}")
    place = next((one for one in (*WRAPPERS, "") if one in dicts), None) or max(dicts, key=lambda one: len(dicts[one]))
    return place, without_prefixes(dicts[place])


def without_prefixes(state: Mapping[str, Tensor]) -> State:
    """An unknown state dict without the prefixes of DataParallel and torch.compile."""
    named = dict(state)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in named)), None):
        named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def _holds(content: object) -> str:
    """The keys of a file, for a message."""
    if not isinstance(content, Mapping):
        return ""
    return f": it holds {some(map(str, content))}" if content else ": it is empty"


def outline(content: object, path: Path, place: str) -> str:
    """What a file with an unknown network holds, and how to save its weights alone; "" for a bare state dict."""
    if not isinstance(content, Mapping) or not (keys := _subscripts(content, place)):
        return ""
    lines = saving(path, "torch.load({0}, map_location='cpu')", f"content{keys}")
    return f"; it holds {some(map(str, content))}, and what is under one key is saved alone, in Python, by {lines}"


def _subscripts(content: Any, place: str) -> str:
    """Python code for a place in a file, whose keys may contain dots."""
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        if place == str(key) and isinstance(value, Mapping):
            return f"[{key!r}]"
        inside = place.startswith(f"{key}.") and isinstance(value, Mapping | list | tuple)
        if inside and (rest := _subscripts(value, place.removeprefix(f"{key}."))):
            return f"[{key!r}]{rest}"
    return ""


def _words(key: str) -> str:
    """A key in lower case with _ between words: modelEma becomes model_ema."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower())
