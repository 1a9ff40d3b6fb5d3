"""Load weights into networks: all of them or none, with every difference reported."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from unfold.config import load_config, options_of
from unfold.errors import UnfoldError, one_line
from unfold.models.registry import built, for_people, network_part, same_network, skeleton
from unfold.models.unfolding import UnfoldingNetwork
from unfold.registry import NETWORK, Part, code_in, is_known, origin, short
from unfold.util.matrix_files import digest_beside
from unfold.util.nested import plain
from unfold.weights.open_file import Source, as_path_of
from unfold.weights.read_checkpoint import Checkpoint, read_checkpoint
from unfold.weights.recognise import recognise
from unfold.weights.resolve_weights import find_weights, known_as, published

logger = logging.getLogger("unfold")
SHOWN = 10  # keys that are not finite
NAMED = 3  # keys per kind of difference
Said = tuple[str, Mapping[str, object]]  # what a file says that it holds: name and arguments of a network


class MisfitError(UnfoldError):
    """Weights of other names or shapes than the network's. another: of another network; names, options: the network in
    the file as far as it is known, and those of its options that differ.
    """

    def __init__(self, text: str, *, names: list[str], options: Mapping[str, object], another: bool) -> None:
        super().__init__(text)
        self.names, self.options, self.another = names, options, another

    def remedy(self) -> str:
        """What a recipe would say to fit the weights; "" if that is not known."""
        if self.another:
            return f"; MODEL.NAME {short(self.names[0])} is their network" if self.names else ""
        words = " ".join(f"MODEL.ARGS.{key} {_typed(value)}" for key, value in self.options.items())
        return f"; they fit with {words}" if words else ""


def _typed(value: object) -> str:
    """A value as on a command line."""
    text = str(list(value) if isinstance(value, tuple) else value)
    return f'"{text}"' if " " in text else text


def load_state(net: UnfoldingNetwork, state: Mapping[str, Tensor], path: str | Path, said: Said | None = None) -> None:
    """Copy weights into a network; where they do not fit, MisfitError that names the keys, with nothing copied. said:
    what the file says that it holds, for that error.

    Tolerated, and logged: parameters that no computation uses may be missing (they become 0) or be superfluous, and of
    parameters that the network shares under several names one is enough (of several, the last counts).
    """
    net.load_state_dict(fitted(net, state, path, said))


def fitted(
    net: UnfoldingNetwork, given: Mapping[str, Tensor], path: str | Path, said: Said | None = None
) -> dict[str, Tensor]:
    """Convert a file's state dict to the one that the network takes; UnfoldError if it does not fit. said: see
    :func:`load_state`.
    """
    own = net.state_dict(keep_vars=True)
    state = {key: value for key, value in given.items() if key in own}
    aliases: dict[int, list[str]] = defaultdict(list)
    for key, value in own.items():
        aliases[id(value)].append(key)
    filled, differing = [], []
    for keys in aliases.values():
        at_hand = [key for key in keys if key in state]
        if not at_hand or any(state[key].shape != own[key].shape for key in at_hand):
            continue
        differing += [key for key in at_hand[:-1] if not torch.equal(state[key], state[at_hand[-1]])]
        filled += [key for key in keys if key not in state]
        state |= dict.fromkeys(keys, state[at_hand[-1]])
    for key in state:
        if _kind(state[key]) != _kind(own[key]):
            raise UnfoldError(f"{path}: {key} is no plain tensor of {_kind(own[key])} numbers")
    check_finite(net, given, path)
    unused = [key for key in own if key not in state and re.fullmatch(net.unused_keys, key)]
    state |= {key: torch.zeros(own[key].shape) for key in unused}
    foreign = [key for key in given if key not in own and re.fullmatch(net.foreign_keys, key)]
    _refuse_differences(net, own, given, {**given, **state}, foreign, path, said)
    rounded = [key for key in own if state[key].dtype != own[key].dtype]
    for keys, what in (
        (unused, "unused parameters are missing, and become 0"),
        (foreign, "parameters that no computation uses are left out"),
        (filled, "shared parameters stand under fewer names"),
        (differing, "shared parameters differ under their names; the last one counts"),
        (rounded, "parameters are converted to the network's floating-point type"),
    ):
        if keys:
            logger.info("note: %s: %d %s (%s%s)", path, len(keys), what, keys[0], ", ..." if len(keys) > 1 else "")
    return {key: state[key] for key in own}


def _kind(value: Tensor) -> str:
    """Kind of number: other kinds than the network's would be rounded, or lose a part."""
    return "floating-point" if value.is_floating_point() else "complex" if value.is_complex() else "whole"


def check_finite(net: UnfoldingNetwork, given: Mapping[str, Tensor], path: str | Path) -> None:
    """UnfoldError for weights with which no result is a number. A buffer may hold inf, as a mask does: a warning."""
    own, weights = net.state_dict(), dict(net.named_parameters(remove_duplicate=False))
    bad, infinite = [], []
    for key in [key for key in own if key in given]:
        if re.fullmatch(net.unused_keys, key) or _kind(own[key]) == "whole" or _kind(given[key]) == "whole":
            continue
        value = given[key].to(own[key].dtype)  # in which a large number may be inf
        if value.isnan().any() or (key in weights and value.isinf().any()):
            bad.append(f"{key} ({int((~value.isfinite()).sum())} of {value.numel()})")
        elif value.isinf().any():
            infinite.append(key)
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UnfoldError(
            f"the weights in {path} are not finite numbers (NaN or inf), as after a training that diverged: "
            f"{', '.join(bad[:SHOWN])}{more}; take an earlier checkpoint"
        )
    if infinite:
        logger.warning("note: %s holds inf in %s", path, ", ".join(infinite[:SHOWN]))


def _refuse_differences(
    net: UnfoldingNetwork,
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    foreign: list[str],
    path: str | Path,
    said: Said | None,
) -> None:
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own and key not in foreign]
    reshaped = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:NAMED])}{', ...' if len(keys) > NAMED else ''})"
        for what, keys in (("missing", missing), ("unknown", extra), ("of another shape", reshaped))
        if keys
    ]
    if not parts:
        return
    found = recognise(state)
    names = found[0] if said is None and found else [said[0]] if said else []
    sizes = dict(found[1]) if found else {} if said is None else said[1]
    shared = [key for key in own if key in given and given[key].shape == own[key].shape]
    another = not any(_is_of(net, name) for name in names) if names else not shared
    holds = ""
    if names:
        verb = "holds" if said else "looks like"
        options = f" with {in_words(sizes)}" if sizes and not another else ""
        holds = f"the file {verb} {' or '.join(map(short, names))}{options}{', another network' if another else ''}; "
    mine = recognise(own)
    differing = {key: value for key, value in sizes.items() if mine is None or mine[1].get(key) != value}
    raise MisfitError(
        f"the weights in {path} do not fit this {type(net).__name__}: {holds}{'; '.join(parts)}",
        names=names,
        options={} if another else differing,
        another=another,
    )


def _is_of(net: UnfoldingNetwork, name: str) -> bool:
    """Whether a network's name, perhaps of code in a file, is of the network's class."""
    if is_known(NETWORK, name):
        return network_part(name).make is type(net)
    return name.rpartition(":")[2] == type(net).__name__


def in_words(arguments: Mapping[str, object]) -> str:
    """Arguments for a message."""
    return ", ".join(f"{key} {value}" for key, value in arguments.items())


def load_model(
    path: Source,
    name: str | None = None,
    device: str | torch.device | None = None,
    *,
    key: str | None = None,
    **overrides: object,
) -> UnfoldingNetwork:
    """Build the network of a checkpoint and load its weights. Returns it in eval mode, on the CPU or the given device.

    The network is the one that the file names (files of this package do), or else the one that the names and shapes of
    its tensors fit, with any width, sampling ratio, and number of stages of untied networks. Files of other trainers
    are read, too: the state dict may be under any keys, its names may have any prefix, and a moving average is
    preferred to other copies. The network checks its inputs, see
    :attr:`unfold.models.unfolding.UnfoldingNetwork.checks_inputs`.

    path: a file; or, if there is no such file, a name of published weights such as "usrnet_tiny", which are downloaded
    once (see `unfold weights list`); or an open binary file, read from its current position; or bytes.
    name: the network. Needed if the file does not determine it (NRL-GDN's three variants share one layout), and for
    your own code: "ista.py:ISTANet", or a recipe whose MODEL it is. Code is never run because a file names it.
    device: "auto", "cpu", "cuda" or a torch.device.
    key: which of several networks in the file, such as "g_ema" or "state_dict.generator".
    overrides: constructor arguments, as for :func:`unfold.create_model`, including files that the weights need and do
    not contain, such as ``matrix="phi.mat"``. No file is opened because a checkpoint names it.
    Raises UnfoldError for an unsuitable file, name, key or device.
    """
    if name is not None and not isinstance(name, str):
        raise UnfoldError(f"name is text such as 'ista.py:ISTANet', not {_kind_of(name)}: unfold.register gives one")
    with as_path_of(path) as file:
        return for_people(load_named(file, name, overrides, key=key)[2], device)


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def load_named(
    source: str | Path,
    name: str | None = None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    *,
    key: str | None = None,
    files: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, Path, UnfoldingNetwork]:
    """As :func:`load_model` for a path, but returns name and file, too; the network does not check its inputs.

    files: options of the network that name files; other entries are ignored.
    """
    path, checkpoint, name = open_weights(source, name, key, overrides)
    name, arguments = identify(checkpoint, path, name, {*files, *overrides})
    part = network_part(name)
    arguments = {**arguments, **{one: files[one] for one in part.files() if one in files}, **overrides}
    check_files(part, checkpoint, path, arguments)
    # Compare names and shapes before spending memory.
    state = fitted(skeleton(name, arguments), checkpoint.state, path)
    net = built(part, arguments)
    net.load_state_dict(state)
    return name, path, net.eval()


def open_weights(
    source: str | Path, name: str | None, key: str | None = None, options: Mapping[str, object] | None = None
) -> tuple[Path, Checkpoint, str | None]:
    """The file of ``source``, its content, and the network: ``name``, or that of published weights.

    key: which of several networks in the file; options: constructor arguments, for a named network that is found by
    comparison.
    """
    weights = published(source)
    if name is None and weights is not None:
        name = weights.model
    path = find_weights(source)
    if name is None:
        return path, read_checkpoint(path, key), name
    known, arguments = of_recipe(name) if _is_recipe(name) else (name, {})

    def like() -> UnfoldingNetwork:
        return skeleton(known, {**arguments, **(options or {})})

    return path, read_checkpoint(path, key, name=known, like=like), name


def identify(
    checkpoint: Checkpoint, path: str | Path, name: str | None = None, given: Collection[str] = ()
) -> tuple[str, dict[str, object]]:
    """Name and constructor arguments of the network in a checkpoint; ``name`` decides where several fit.

    name: of a network or of code, or a recipe (.yaml) whose MODEL it is; given: names of further arguments, which
    decide, too. Code that only the file names is never imported: UnfoldError asks for the name. Of the files that
    weights need, only a recipe's are among the arguments (see :func:`check_files`).
    """
    if name is not None and _is_recipe(name):
        return _by_recipe(checkpoint, path, name)
    if checkpoint.model is None:
        found = recognise(checkpoint.state)
        options: Mapping[str, object] = {}
        if found is not None and any(network_part(one).files() for one in found[0]):
            weights = known_as(path)
            options = {} if weights is None else weights.options
            name = weights.model if name is None and weights is not None else name
        if name is None:
            name = _only_name(found, path, checkpoint.outline, given)
        if found is not None and name in found[0]:
            _warn_of_unseen(name, {**found[1], **options}, path, given)
            return name, {**found[1], **options}
        if options := network_part(name).full({}):  # such as the number of stages that share weights
            logger.info("note: %s says no options of %s, so that they are %s", path, short(name), in_words(options))
        return name, {}
    named, arguments = checkpoint.model
    if name is None:
        name = named
        if not is_known(NETWORK, named):
            raise UnfoldError(
                f"{path} holds {one_line(named[:80])}, which is not registered here, and code is never run because a "
                "file of weights names it: say where it is by --model FILE.py:CLASS, in Python name="
            )
    elif _another(named, name):
        raise UnfoldError(
            f"{path} says that it holds {one_line(named[:80])}, which is another network than {short(name)}"
        )
    if code := code_in(arguments):
        raise UnfoldError(
            f"{path} holds {one_line(named[:80])} with code, {one_line(code[0][:80])}, which is never run because a "
            "file of weights names it: say --model RECIPE.yaml, whose MODEL it is, in Python name="
        )
    part = network_part(name)
    arguments = {key: value for key, value in arguments.items() if key not in part.files()}
    digest = checkpoint.content.get("model", {}).get("sha256")
    if part.sha256 is not None and digest is not None and digest != part.sha256:
        logger.info("note: %s is not as it was when the weights in %s were trained", part.file, path)
    return name, arguments


def _warn_of_unseen(name: str, shown: Mapping[str, object], path: str | Path, given: Collection[str]) -> None:
    """Warn of options that change results, but neither the file nor a shape shows: a default is assumed for them."""
    part = network_part(name)
    unseen = [one for one in part.make.not_in_shapes if one in part.parameters() and one not in {*shown, *given}]  # type: ignore[attr-defined]
    if unseen and known_as(path) is None:
        assumed = in_words({one: part.full({})[one] for one in unseen})
        logger.warning(
            "note: no shape in %s shows %s: %s of %s is assumed; if it was trained with another value give that, in "
            "Python load_model(..., %s=...), on a command line --model RECIPE.yaml with MODEL.ARGS",
            *(path, " and ".join(unseen), assumed, short(name), unseen[0]),
        )


def _another(named: str, name: str) -> bool:
    """Whether a network differs from the one in a file; not where code was registered or moved since."""
    if is_known(NETWORK, named):
        return not same_network(named, name)
    return is_known(NETWORK, name) and not origin(NETWORK, name)


def _is_recipe(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _by_recipe(checkpoint: Checkpoint, path: str | Path, recipe: str) -> tuple[str, dict[str, object]]:
    """The recipe's network, with the options that the file was trained with; code in those comes from the recipe."""
    name, options = of_recipe(recipe)
    if checkpoint.model is None:
        return name, options
    named, arguments = checkpoint.model
    if is_known(NETWORK, named) and not same_network(named, name):
        raise UnfoldError(f"{path} says that it holds {named}, which is another network than {short(name)} of {recipe}")
    arguments = {key: value for key, value in arguments.items() if key not in network_part(name).files()}
    if code_in(arguments):
        return name, options
    full = network_part(name).full
    if plain(full(options)) != plain(full({**options, **arguments})):
        logger.info("note: %s was trained with other options than %s has: %s", path, recipe, in_words(arguments))
    return name, {**options, **arguments}


def of_recipe(recipe: str) -> tuple[str, dict[str, object]]:
    """Name and options of the network that a recipe, a .yaml file, names."""
    cfg = load_config(recipe)
    return cfg.MODEL.NAME, options_of(cfg, "MODEL")


def model_record(part: Part, options: Mapping[str, object]) -> dict[str, object]:
    """The record of a network in a checkpoint: name, options (for those that name files, each file's SHA-256) and, for
    a part in a file, the file's SHA-256.
    """
    named = dict(options)
    for key in part.files():
        if isinstance(named.get(key), str | Path):
            named[key] = {"sha256": digest_beside(named[key])}
    return {"name": part.name, "arguments": named, **({"sha256": part.sha256} if part.file else {})}


def check_files(part: Part, checkpoint: Checkpoint, path: str | Path, given: Mapping[str, object]) -> None:
    """UnfoldError if the options do not name the files that the weights need, or name other files than in training.
    No path in the checkpoint is opened: it has digests.
    """
    if not (files := part.files()):
        return
    wanted = getattr(part.make, "file_wanted", lambda given: "")
    given = {key: value for key, value in given.items() if value is not None}
    if checkpoint.model is None:
        if why := wanted(given):
            raise UnfoldError(f"{path} holds {part.name} and not what it needs beside, {why}")
        return
    for key in files:
        named = checkpoint.model[1].get(key)
        digest = named.get("sha256") if isinstance(named, Mapping) else None
        what = f"a file {key}{f' ({files[key]})' if files[key] else ''}"
        begins = f" whose SHA-256 begins with {one_line(str(digest))[:12]}" if digest else ""
        if named is None and key in given:
            raise UnfoldError(f"{path} was trained without {what}: leave {key} out")
        if named is not None and key not in given:
            which = wanted(given)
            if which or digest or not isinstance(named, Mapping):  # a file without known digest is optional
                raise UnfoldError(
                    f"{path} was trained with {what}{begins}, which it does not hold: {which or f'give {key}=FILE'}"
                )
        elif digest and digest != (own := digest_beside(given[key])):
            raise UnfoldError(f"{path} was trained with {what}{begins}, and that of {given[key]} with {own[:12]}")


def _files_of(names: Iterable[str]) -> str:
    """The files that these networks need, for a message."""
    said = {}
    for name in names:
        part = network_part(name)
        if part.files() and (why := part.make.file_wanted({})):  # type: ignore[attr-defined]
            said[why] = name
    return "".join(f"; {name} wants {why}" for why, name in said.items())


def _only_name(
    found: tuple[list[str], dict[str, object]] | None, path: str | Path, outline: str, given: Collection[str]
) -> str:
    if found is None:
        raise UnfoldError(f"{path} holds no network that is known here; give its name (see `unfold models`){outline}")
    names, arguments = found
    names = [name for name in names if network_part(name).files().keys() & given] or names
    whole = [plain(network_part(name).full(arguments)) for name in names]
    if any(one != whole[0] for one in whole):  # not visible in shapes: they are different networks
        raise UnfoldError(
            f"{path} fits {', '.join(names)}, which share one layout: give its name to say which it is "
            f"(--model or --name, in Python name=){_files_of(names)}"
        )
    if len(names) > 1:
        logger.info("note: %s fits %s; taken as %s, which runs the same", path, " and ".join(names), names[0])
    return names[0]
