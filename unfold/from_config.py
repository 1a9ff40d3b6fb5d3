"""Build the parts that training and testing share from a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from yacs.config import CfgNode

from unfold import registry
from unfold.config import build_part, found_part, options_of, part_of, source_of, where
from unfold.data.images import find_file
from unfold.data.mixtures import MixedStore
from unfold.data.pairs import NoPartnerError, marked_inputs
from unfold.data.patches import Images, MemoryStore, read_store, reduced
from unfold.data.stores.choose_store import POSSIBLE, Peers, Wish, shared_store
from unfold.data.stores.cut_store import CutStore
from unfold.data.stores.image_stores import Converted, Store
from unfold.data.stores.patch_cache import PatchCache
from unfold.data.stores.shared_store import SharedStore
from unfold.degradations.degradation import Degradation
from unfold.degradations.mixture import Mixture
from unfold.errors import UnfoldError
from unfold.metrics.ssim import WINDOW
from unfold.models.registry import built, skeleton
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Protocol
from unfold.protocols.synthetic_validation import Mixed, Synthetic
from unfold.settings import DataSettings, ModelSettings, settings_of
from unfold.user_files import their_errors
from unfold.util.nested import plain

JOINT = " + "  # between several folders of one training set


def build_network(cfg: CfgNode) -> UnfoldingNetwork:
    """The network of MODEL, with fresh weights. UnfoldError if it needs inputs that the samples do not have."""
    net = built(part_of(cfg, "MODEL"), options_of(cfg, "MODEL"), where(cfg, "MODEL.ARGS"))
    check_inputs(settings_of(cfg).model, settings_of(cfg).data, net, build_degradation(cfg, net))
    return net


def bare_network(cfg: CfgNode) -> UnfoldingNetwork:
    """The network of MODEL on the meta device, for its facts. Do not modify it."""
    return skeleton(cfg.MODEL.NAME, options_of(cfg, "MODEL"))


def check_parts(cfg: CfgNode) -> UnfoldingNetwork:
    """The network on the meta device. UnfoldError, with file and key, if MODEL or DATA are invalid or do not fit
    together. Reads no data.
    """
    part_of(cfg, "MODEL").checked(options_of(cfg, "MODEL"), where(cfg, "MODEL.ARGS"))
    try:
        net = bare_network(cfg)
    except UnfoldError as error:
        raise UnfoldError(f"{source_of(cfg, 'MODEL.ARGS')}: MODEL: {error}") from error.__cause__
    degradation = build_degradation(cfg, net)
    check_inputs(settings_of(cfg).model, settings_of(cfg).data, net, degradation)
    if cfg.DATA.REDUCED and not degradation.clean:
        raise UnfoldError(
            f"{source_of(cfg, 'DATA.REDUCED')}: DATA.REDUCED is for clean images that are degraded on the way, not for "
            f"DATA.KIND {registry.short(cfg.DATA.KIND)}"
        )
    return net


def parts_of(cfg: CfgNode) -> dict[str, CfgNode]:
    """The parts of DATA.MIX by name: for each the configuration of a training on that part only. Empty without a
    mixture.
    """
    parts: dict[str, CfgNode] = {}
    for i, (name, data) in enumerate(settings_of(cfg).data.parts.items()):
        copy = cfg.clone()
        copy.defrost()
        copy.DATA.KIND, copy.DATA.ARGS, copy.DATA.MIX = data.kind, CfgNode(plain(data.args), new_allowed=True), ()
        for key in ("TRAIN", "VAL", "TEST", "VAL_PROTOCOL"):
            copy.DATA[key] = getattr(data, key.lower())
        copy.freeze()
        sources = {key: at for key, at in vars(cfg).get("sources", {}).items() if not key.startswith("DATA.ARGS.")}
        own = ["ARGS", *(key for key in cfg.DATA.MIX[i] if key in cfg.DATA)]
        sources |= {f"DATA.{key}": f"{source_of(cfg, 'DATA.MIX')}: DATA.MIX.{i}" for key in own}
        vars(copy)["sources"] = sources
        parts[name] = copy
    return parts


def check_inputs(model: ModelSettings, data: DataSettings, net: UnfoldingNetwork, degradation: Degradation) -> None:
    """UnfoldError if the samples lack inputs of the network."""
    if isinstance(degradation, Mixture):
        for part, own in data.parts.items():
            with part_named(part):
                check_inputs(model, own, net, degradation.parts[part])
    wanted, name = set(net.required), model.short_name
    if not wanted <= set(degradation.inputs):
        raise UnfoldError(
            f"{name} takes {', '.join(sorted(wanted))}, and samples of DATA.KIND "
            f"{registry.short(data.kind)} hold {', '.join(degradation.inputs)}"
        )
    if "scale" not in net.inputs and set(degradation.scales) != {1}:
        raise UnfoldError(f"{name} does not enlarge: set DATA.ARGS.scales [1], not {list(degradation.scales)}")


def build_degradation(cfg: CfgNode, net: UnfoldingNetwork) -> Degradation:
    """The degradation of DATA.KIND and DATA.ARGS, with the network's number of channels."""
    degradation: Degradation
    if cfg.DATA.MIX:
        with said_by(cfg, "DATA.MIX"):
            degradation = Mixture({name: build_degradation(part, net) for name, part in parts_of(cfg).items()})
    else:
        degradation = build_part(cfg, "DATA")
    degradation.channels, degradation.asked = net.channels, net.inputs
    return degradation


def build_store(
    data: DataSettings, degradation: Degradation, processes: Peers | None = None, dry: bool = False
) -> tuple[Store, list[str]]:
    """The images of DATA.TRAIN, a patch cache (.h5) or files, as set by DATA.STORE; and the reason for each skipped
    image.

    Smaller copies by the factors of DATA.REDUCED follow the files. For a mixture, a
    :class:`unfold.data.mixtures.MixedStore`. processes: those that share the run; dry: write nothing.

    UnfoldError if there are no images, or they do not fit DATA.KIND.
    """
    if isinstance(degradation, Mixture):
        return _mixed_store(data, degradation, processes, dry)
    store, left_out = _one_store(data, degradation, processes, dry)
    if data.multiple == 1:
        return store, left_out
    if store.scale != 1:
        raise UnfoldError(
            f"DATA.MULTIPLE cuts images that keep their size, and the targets of {data.train} are {store.scale} times "
            "as large as their inputs: set it 1"
        )
    if small := [i for i in range(len(store)) if min(store.size(i)) < data.multiple]:
        raise UnfoldError(
            f"DATA.TRAIN {data.train} holds {len(small)} images below {data.multiple} pixels, and DATA.MULTIPLE "
            "leaves nothing of those"
        )
    return CutStore(store, data.multiple), left_out


def _mixed_store(
    data: DataSettings, degradation: Mixture, processes: Peers | None, dry: bool
) -> tuple[MixedStore, list[str]]:
    """The stores of a mixture's parts. Clean images that several parts read in the same way are kept once."""
    stores: dict[str, Store] = {}
    known: dict[object, tuple[Store, list[str]]] = {}
    bad: dict[str, None] = {}
    for name, part in data.parts.items():
        kind = degradation.parts[name]
        own = (part.training_set, _rule(kind)) if kind.clean and _rule(kind) else name
        if own not in known:
            with part_named(name):
                known[own] = build_store(part, kind, processes, dry)
        stores[name], left_out = known[own]
        bad |= dict.fromkeys(left_out)
        if stores[name].scale != 1:
            raise UnfoldError(
                f"DATA.MIX {name}: the targets are {stores[name].scale} times as large as their inputs, and images of "
                "a mixture keep their size"
            )
    return MixedStore(stores, data.repeats), list(bad)


@contextmanager
def part_named(name: str) -> Iterator[None]:
    """Errors begin with the part of DATA.MIX that they are about."""
    try:
        yield
    except UnfoldError as error:
        raise type(error)(f"DATA.MIX {name}: {error}") from error.__cause__


def _one_store(
    data: DataSettings, degradation: Degradation, processes: Peers | None, dry: bool
) -> tuple[Store, list[str]]:
    if data.training_set.endswith(".h5"):
        cache = _open_cache(data, degradation)
        return (cache if degradation.channels == 3 else Converted(cache, degradation.channels)), []
    sources, read = _sources(data, degradation), partial(_read, degradation)
    files = [degradation.files(source) for source in sources]
    found: tuple[SharedStore | MemoryStore, list[str]]
    if all(files) and POSSIBLE:
        wish = Wish(data.store, data.reduced, data.skip_bad, _rule(degradation), data.train, dry)
        found = shared_store(sources, files, read, reduced, wish, processes)
    else:
        if data.store not in ("auto", "memory"):
            what = f"{type(degradation).__name__} reads images by itself and has no method files"
            raise UnfoldError(
                f"DATA.STORE {data.store} is not for images whose sizes are known "
                f"only when they are decoded ({what if POSSIBLE else 'it needs Linux'}): set memory"
            )
        found = read_store(sources, read, data.skip_bad, data.reduced)
    return found


def _rule(degradation: Degradation) -> str:
    """A key for how files are read; "" for user code, which may change unseen."""
    read = type(degradation).read
    ours = read.__module__.startswith("unfold.")
    return f"{read.__module__}.{read.__qualname__}, {degradation.reading()}" if ours else ""


def _read(degradation: Degradation, source: object) -> Images:
    with their_errors(f"reading {source}"):
        return degradation.read(source)


def _open_cache(data: DataSettings, degradation: Degradation) -> PatchCache:
    cache = PatchCache(find_file(data.training_set, "`unfold data prepare cache` makes one"))
    holds = "pairs" if "input" in cache.manifest["kinds"] else "images"
    kind = registry.short(data.kind)
    if holds != degradation.cache:
        what = "pairs" if holds == "pairs" else "colour images"
        raise UnfoldError(f"{cache.path} holds {what}, which are not what DATA.KIND {kind} is made of")
    if data.reduced:  # the earlier check of the configuration does not expand variables
        raise UnfoldError(f"DATA.REDUCED makes copies of files, and {cache.path} is a cache: set DATA.REDUCED '[]'")
    if data.store != "auto":
        raise UnfoldError(f"DATA.STORE is for files, and {cache.path} is a cache, which is read as it is: leave it out")
    if data.skip_bad:
        raise UnfoldError(f"DATA.SKIP_BAD leaves out files, and {cache.path} is a cache, which is used whole")
    return cache


@contextmanager
def said_by(cfg: CfgNode, key: str) -> Iterator[None]:
    """Errors that begin with a key begin with the file that sets it."""
    try:
        yield
    except UnfoldError as error:
        if not str(error).startswith(f"{key} "):
            raise
        raise type(error)(f"{source_of(cfg, key)}: {error}") from None


def check_training_set(data: DataSettings, degradation: Degradation) -> None:
    """UnfoldError if DATA.TRAIN is missing, or does not fit DATA.KIND by its file names. Reads no image."""
    if isinstance(degradation, Mixture):
        for name, part in data.parts.items():
            with part_named(name):
                check_training_set(part, degradation.parts[name])
        return
    try:
        if data.training_set.endswith(".h5"):
            _open_cache(data, degradation)
        else:
            _sources(data, degradation)
    except UnfoldError as error:
        if str(error).startswith("DATA."):
            raise
        raise type(error)(f"DATA.TRAIN {data.train}: {error}") from error.__cause__


def _sources(data: DataSettings, degradation: Degradation) -> Sequence[object]:
    try:
        with their_errors("finding the training set"):
            parts = data.training_set.split(JOINT)
            sources = [source for part in parts for source in degradation.sources(part.strip())]
    except NoPartnerError as error:
        if not data.skip_bad:
            raise
        raise UnfoldError(
            f"{error} (DATA.SKIP_BAD leaves out unreadable images, not those without a partner)"
        ) from None
    if degradation.clean and (inputs := marked_inputs(source for source in sources if isinstance(source, Path))):
        raise UnfoldError(
            f"DATA.TRAIN {data.train} holds pairs side by side, such as {inputs[0].name}, and DATA.KIND "
            f"{registry.short(data.kind)} is made of clean images: set DATA.KIND paired, or name a folder of clean "
            "ones"
        )
    return sources


def build_validation(cfg: CfgNode, net: UnfoldingNetwork, degradation: Degradation) -> Protocol:
    """The protocol that validates a training run. UnfoldError for one without ground truth, or unsuitable for this
    network.
    """
    if isinstance(degradation, Mixture):
        return _mixed_protocol(cfg, net, degradation)
    protocol = _protocol(cfg, "DATA.VAL_PROTOCOL", cfg.DATA.VAL_PROTOCOL or degradation.validation(net), degradation)
    if why := _misfit(protocol, net):
        name = settings_of(cfg).model.short_name
        raise UnfoldError(f"DATA.VAL_PROTOCOL {protocol.name} {why}, so it cannot validate {name}")
    protocol.fit(net)
    return protocol


def build_test(cfg: CfgNode, net: UnfoldingNetwork, degradation: Degradation) -> Protocol:
    """The protocol of `unfold test --config`: TEST.PROTOCOL, the degradation's own, or that of validation."""
    if isinstance(degradation, Mixture) and not cfg.TEST.PROTOCOL:
        return _mixed_protocol(cfg, net, degradation)
    as_validated = cfg.DATA.VAL_PROTOCOL or degradation.validation(net) == degradation.protocol(net)
    if not cfg.TEST.PROTOCOL and not degradation.own_test and as_validated:
        return build_validation(cfg, net, degradation)
    protocol = _protocol(cfg, "TEST.PROTOCOL", cfg.TEST.PROTOCOL or degradation.protocol(net), degradation)
    if why := _misfit(protocol, net):
        raise UnfoldError(f"{protocol.name} {why}: set TEST.PROTOCOL, or test by --protocol")
    protocol.fit(net)
    return protocol


def _mixed_protocol(cfg: CfgNode, net: UnfoldingNetwork, degradation: Mixture) -> Mixed:
    parts = parts_of(cfg)
    places: dict[str, dict[str, str]] = {}
    for name, item in zip(parts, cfg.DATA.MIX, strict=True):
        places[name] = {key.lower(): item[key] for key in ("VAL", "TEST") if item.get(key)}
    return Mixed({name: build_validation(part, net, degradation.parts[name]) for name, part in parts.items()}, places)


def _misfit(protocol: Protocol, net: UnfoldingNetwork) -> str:
    """Why the protocol cannot score the network; "" if it can."""
    if missing := set(net.required) - set(protocol.inputs):
        return f"does not give {', '.join(sorted(missing))}"
    return "" if protocol.scored else "has no references"


def _protocol(cfg: CfgNode, key: str, text: str, degradation: Degradation) -> Protocol:
    if not text:
        return Synthetic(degradation, {"degradation": registry.short(cfg.DATA.KIND), **options_of(cfg, "DATA")})
    section, name = key.split(".")
    if cfg[section][name]:
        found_part(cfg, registry.PROTOCOL, registry.split_options(text)[0], key)  # so that an error names file and key
    return parse_protocol(text)


def smallest_image(net: UnfoldingNetwork) -> int:
    """Smallest side of an image that can be restored and scored."""
    return max(net.min_size, WINDOW)
