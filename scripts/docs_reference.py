"""The pages of the documentation's reference that are made from the code: settings, parts, commands, Python.

    python scripts/docs_reference.py FOLDER

Writes FOLDER/settings.md (every key of a recipe: from unfold/config.py and settings.py), parts.md (every part of
unfold/builtin.py: from the signature of its constructor), commands.md (every command and option: from the parsers) and
python/*.md (what mkdocstrings fills from docstrings). `scripts/docs` calls it before it builds the site.
"""

from __future__ import annotations

import argparse
import inspect
import io
import re
import sys
import textwrap
import tokenize
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import unfold.util.as_program  # isort: skip

import unfold
from unfold import builtin, config, merge_recipes, registry, settings
from unfold.cli.arguments import parser
from unfold.util.nested import plain

PACKAGE = Path(unfold.__file__).parent
KINDS = {
    "network": (registry.NETWORK, "MODEL.NAME", "MODEL.ARGS"),
    "degradation": (registry.DEGRADATION, "DATA.KIND", "DATA.ARGS"),
    "loss": (registry.LOSS, "LOSS.TERMS, NAME", "ARGS of the term"),
    "protocol": (
        registry.PROTOCOL,
        "--protocol, DATA.VAL_PROTOCOL, TEST.PROTOCOL",
        "after the name: NAME:OPTION=VALUE",
    ),
    "optimizer": (registry.OPTIMIZER, "OPTIM.NAME", "OPTIM.ARGS"),
    "schedule": (registry.SCHEDULE, "SCHEDULE.NAME", "SCHEDULE.ARGS"),
    "data step": (registry.DATA_STEP, "MODEL.ARGS.data.name of `composed`", "beside it"),
    "prior": (registry.PRIOR, "MODEL.ARGS.prior.name of `composed`", "beside it"),
}
FOLDERS = {  # of the package, as pages of their own
    "metrics": "Metrics",
    "models": "Networks",
    "steps": "Data steps",
    "priors": "Priors",
    "physics": "Physics",
    "degradations": "Degradations",
    "losses": "Losses",
    "protocols": "Protocols",
}
SINGLE = {"facts": "What a network declares about itself", "errors": "Errors"}


def cell(text: object) -> str:
    """Text for a cell of a table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()


def code(text: object) -> str:
    """The same as code, in which mkdocs wants no backslash before "|"."""
    text = re.sub(r"\s+", " ", str(text))
    return f"`{text}`" if text else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def plain_text(text: str) -> str:
    """Roles of Sphinx as code: :func:`unfold.train` is `unfold.train`."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")


# --- settings


def meanings(source: str) -> dict[str, str]:
    """The comments of the tree, by key: that behind a key, or that above it and above keys that follow on it."""
    comments = {
        token.start[0]: (token.string.lstrip("# ").rstrip(), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, str] = {}
    above: list[str] = []
    for number, line in enumerate(source.splitlines(), 1):
        text, alone = comments.get(number, ("", False))
        if alone:
            before = comments.get(number - 1, ("", False))
            above = [*above, text] if before[1] else [text]
        elif key := re.match(r"_C\.([\w.]+) = ", line):
            found[key[1]] = text or " ".join(above)
            if text or line.endswith("CfgNode()"):
                above = []
        else:
            above = []
    return found


def types() -> dict[str, str]:
    """The type of each key, from the data classes of unfold/settings.py."""
    found = {}
    for name, hint in typing.get_type_hints(settings.Settings).items():
        if hint.__module__ != settings.__name__:
            found[name.upper()] = hint
            continue
        for field, inner in typing.get_type_hints(hint).items():
            found[f"{name.upper()}.{field.upper()}"] = inner
    return {key: type_name(hint) for key, hint in found.items()}


def type_name(hint: Any) -> str:
    text = inspect.formatannotation(hint) if not isinstance(hint, str) else hint
    text = text.replace("collections.abc.", "").replace("typing.", "").replace("~", "")
    return (
        re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
        .replace("Mapping[str, Any]", "section")
        .replace("tuple[section, ...]", "list of sections")
    )


def setting_keys() -> list[str]:
    """Every key of a recipe."""
    return [key for section, value in config._C.items() for key in _keys_of(section, value)]


def _keys_of(section: str, value: Any) -> list[str]:
    return [f"{section}.{key}" for key in value] if section in config.SECTIONS else [section]


def settings_page() -> str:
    about, kinds = meanings((PACKAGE / "config.py").read_text(encoding="utf-8")), types()
    text = [
        "# Settings: every key of a recipe\n",
        "A recipe is a YAML file of the settings that differ from these defaults. `KEY VALUE` on the command line "
        "overrides the recipe. This page is made from `unfold/config.py` and `unfold/settings.py`. The options of "
        "parts (`ARGS`) are in [parts](parts.md).\n",
    ]
    sections: dict[str, list[str]] = {}
    for key in setting_keys():
        section, dot, _ = key.partition(".")
        sections.setdefault(section if dot else "", []).append(key)
    for section, keys in sections.items():
        text.append(f"## {section or 'Keys of all runs'}\n")
        if about.get(section):
            text.append(about[section] + "\n")
        rows = []
        for key in keys:
            value: Any = config._C
            for name in key.split("."):
                value = value[name]
            rows.append(
                [f'<a id="{key}"></a>{code(key)}', code(kinds[key]), code(default(plain(value))), cell(about[key])]
            )
        text.append(table(["key", "type", "default", "meaning"], rows))
        if section == "LOSS":
            text.append("Each item of `LOSS.TERMS` has the keys\n")
            text.append(table(["key", "default"], [[code(k), code(default(v))] for k, v in merge_recipes.TERM.items()]))
    return "\n".join(text)


def default(value: Any) -> str:
    return '""' if value == "" else str(value)


# --- parts


def parts() -> Iterator[tuple[str, list[str], list[registry.Part]]]:
    """(kind, names, parts) for each class or function, with all names that stand for it."""
    for what, (kind, *_) in KINDS.items():
        by_target: dict[str, list[str]] = {}
        for name, target in builtin.BUILTIN[what].items():
            by_target.setdefault(target, []).append(name)
        for same in by_target.values():
            yield what, same, [registry.find(kind, name) for name in same]


def parts_page() -> str:
    text = [
        "# Parts: every network, degradation, loss, protocol and their options\n",
        "This page lists every part that a recipe or a command line can name, with its options. The options are the "
        "arguments of the constructor, with their types and defaults. If several names stand for one class, each has "
        "its own defaults. A part of your own is one file: [a network of your own](../guides/own_network.md). (Made "
        "from `unfold/builtin.py` and the signatures.)\n",
    ]
    last = ""
    for what, names, found in parts():
        if what != last:
            _, where, options = KINDS[what]
            text.append(f"## {what.capitalize()}{'es' if what.endswith('s') else 's'}\n")
            text.append(f"Named by {where}; options: {options}.\n")
            last = what
        text.append(f"### {', '.join(names)}\n")
        text.append(one_line(found) + "\n")
        text.append(options_table(found))
        target = builtin.BUILTIN[what][names[0]].replace(":", ".")
        text.append(f"Class or function: `{target}`\n")
    return "\n".join(text)


def one_line(found: list[registry.Part]) -> str:
    """What a part is: the first paragraph of its docstring, and what its presets are."""
    make = found[0].make
    doc = inspect.cleandoc(make.__doc__ or "")
    first = plain_text(re.sub(r"\s+", " ", doc.split("\n\n")[0]))
    presets: Mapping[str, Any] = getattr(make, "presets", {})
    about = [f"- `{part.name}`: {presets[part.name].about}" for part in found if part.name in presets]
    return "\n".join([first or what_else(found[0]), *(["", *about] if about else [])])


def what_else(part: registry.Part) -> str:
    """For a class without a docstring: that of its module."""
    doc = inspect.cleandoc(inspect.getmodule(part.make).__doc__ or "")  # type: ignore[union-attr]
    return plain_text(re.sub(r"\s+", " ", doc.split("\n\n")[0]))


def options_table(found: list[registry.Part]) -> str:
    known = {n: p for n, p in found[0].parameters().items() if n != "**"}
    if not known:
        return "No options.\n"
    about = described(found[0], list(known))
    rows = []
    for name, parameter in known.items():
        hint = parameter.annotation
        kind = "" if hint is parameter.empty else type_name(hint)
        values = [part.preset.get(name, parameter.default) for part in found]
        shown = ["required" if v is inspect.Parameter.empty else code(default(v)) for v in values]
        if len(set(shown)) == 1:
            shown = shown[:1]
        else:
            shown = [f"{part.name}: {one}" for part, one in zip(found, shown, strict=True)]
        rows.append([code(name), code(kind), "; ".join(shown), cell(about.get(name, ""))])
    return table(["option", "type", "default", "meaning"], rows)


def described(part: registry.Part, names: list[str]) -> dict[str, str]:
    """The clauses "name: meaning" of the docstrings of a class and of its constructor."""
    make = part.make
    if part.kind is registry.OPTIMIZER:
        return of_torch(make.__doc__ or "")
    docs = [make.__doc__ or ""]
    if isinstance(make, type):
        docs += [
            make.__init__.__doc__ or "",
            *(base.__doc__ or "" for base in make.__mro__[1:] if base.__module__.startswith("unfold.")),
        ]
    found: dict[str, str] = {}
    for doc in docs:
        text = plain_text(inspect.cleandoc(doc))
        for name in names:
            clause = re.search(
                rf"(?:^|[;.(]\s+|\n|, ){re.escape(name)}(?:, [\w, ]+)?:\s+(.+?)(?=;\s|(?<!Eq)\.\s|\.$|\n\n|\Z)",
                text,
                re.DOTALL,
            )
            if clause and name not in found:
                found[name] = clause[1]
    return found


def of_torch(doc: str) -> dict[str, str]:
    """The first sentences of torch's "name (type, optional): meaning", without the default, which has its column."""
    entry = re.compile(
        r"^ +(\w+) \([^\n]*\) ?:\s(.+?)(?=^ +\w+ \([^\n]*\) ?:\s|^\s*\n|^ *\.\. |\Z)", re.MULTILINE | re.DOTALL
    )
    found = {}
    for name, text in entry.findall(doc):
        text = re.sub(r"`([^`]+)`_", r"\1", re.sub(r"\s+", " ", text))
        text = re.sub(r"\s*\(default:.*", "", text)
        found[name] = re.split(r"\.(?:\s|$)", text)[0].strip()
    return found


# --- commands


def commands() -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Every command with its parser and its line in the help of the one above."""
    yield from _commands(parser(), "")


def _commands(one: argparse.ArgumentParser, about: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    yield one.prog, one, about
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield from _commands(sub, helps.get(name, ""))


def commands_page() -> str:
    text = [
        "# Commands: every command and every option\n",
        "This page lists every command with its options; `unfold COMMAND --help` prints the same. (Made from the "
        "parsers of `unfold/cli/arguments.py`.)\n",
    ]
    for name, one, about in commands():
        if name == "unfold":
            continue
        text.append(f"{'##' if name.count(' ') == 1 else '###'} {name}\n")
        text.append(prose(one.description or about) + "\n")
        usage = " ".join(one.format_usage().removeprefix("usage: ").split())
        usage = textwrap.fill(usage, 84, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
        text.append(f"```text\n{usage}\n```\n")
        rows = [
            [
                code(called(action)),
                code(choices(action)),
                cell(prose((action.help or "") % {"default": action.default, "prog": name})),
            ]
            for action in one._actions
            if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        ]
        if rows:
            text.append(table(["argument", "values", "meaning"], rows))
        if one.epilog:
            text.append(prose(one.epilog) + "\n")
    return "\n".join(text)


def called(action: argparse.Action) -> str:
    if action.option_strings:
        return ", ".join(action.option_strings)
    return action.metavar if isinstance(action.metavar, str) else action.dest


def choices(action: argparse.Action) -> str:
    if action.choices:
        return ", ".join(map(str, action.choices))
    if not action.option_strings or action.nargs == 0:
        return ""
    return " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar or action.dest.upper()


def prose(text: str) -> str:
    """Help as Markdown: what would be read as HTML or emphasis is not."""
    return re.sub(r"([<*])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"\\\1", text)


# --- Python


def python_pages() -> Iterator[tuple[str, str]]:
    """(name, text) of the pages that mkdocstrings fills."""
    public = [f"::: {home}.{name}\n    options: {{heading_level: 2}}\n" for name, home in unfold._HOME.items()]
    yield (
        "unfold",
        "# unfold\n\nThese names, and those of `unfold.metrics` ([metrics](metrics.md)), are the public interface. "
        "`import unfold` does not load torch; each name is loaded at its first use.\n\n" + "\n".join(public),
    )
    for name, title in SINGLE.items():
        yield name, f"# {title}\n\n" + module_block(f"unfold.{name}")
    for folder, title in FOLDERS.items():
        bases = [kind.base.partition(":")[0].rpartition(".")[2] for kind, *_ in KINDS.values()]  # of people's own parts
        modules = [p.stem for p in (PACKAGE / folder).glob("*.py") if not p.stem.startswith("_")]
        modules.sort(key=lambda module: (module not in bases, module))
        yield (
            folder,
            f"# {title}: unfold.{folder}\n\n" + "\n".join(module_block(f"unfold.{folder}.{m}") for m in modules),
        )


def module_block(name: str) -> str:
    return f"## {name}\n\n::: {name}\n    options: {{show_root_heading: false}}\n"


def write(folder: Path) -> None:
    pages = {"settings": settings_page(), "parts": parts_page(), "commands": commands_page()}
    pages |= {f"python/{name}": text for name, text in python_pages()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    write(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
