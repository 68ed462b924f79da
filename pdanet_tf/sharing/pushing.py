"""Pushes a trained model to a repository of Hugging Face."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pdanet_tf.data.class_table import CLASSES_FILE, format_class_table
from pdanet_tf.inference.settings import SETTINGS_FILE, load_model
from pdanet_tf.sharing.card import (
    CARD_FILE,
    adapt_card,
    diagram_path,
    format_card,
    is_card,
    is_own_card,
    read_card,
)
from pdanet_tf.sharing.facts import BEST_FILE, CardFacts, FileFacts
from pdanet_tf.weights.hub import PREFIX, HubAddress, explained_errors, import_hub
from pdanet_tf.weights.shipped import shipped_file


@dataclass(frozen=True)
class PushReport:
    """What was pushed, or would be.

    Attributes:
        address: The model's address, which `build_model` and `Predictor` take.
        url: Page of the commit; None if nothing was pushed.
        sizes: Size in bytes of each file, by its path in the repository.
        card: The text of the card.
        kept: Files that the repository had, and that were not changed.
        card_file: The file beside the model that the card comes from; None if the card was written
            from what is known without measuring.
        unused_card: A card beside the model that describes another file, and was not used.
    """

    address: HubAddress
    url: str | None
    sizes: dict[str, int]
    card: str
    kept: tuple[str, ...] = ()
    card_file: Path | None = None
    unused_card: Path | None = None


def push(
    source: str | os.PathLike[str],
    address: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    message: str | None = None,
    dry_run: bool = False,
) -> PushReport:
    """Pushes a trained model, its settings, classes and card to a repository of Hugging Face.

    The repository is created unless it exists. One commit writes the `.keras` file,
    `inference.json` and `classes.csv` beside it, and `README.md`, the card; a card that the
    repository already has stays as it is. The card is the `README.md` beside the model, if there is
    one that describes this file (`pdanet-tf evaluate --card` writes one), with the address and the
    licence of this call. Otherwise it is written from what is known without measuring. The token is
    that of huggingface_hub: `hf auth login`, or `HF_TOKEN`.

    Args:
        source: The folder of a run, of which `best.keras` is pushed; a `.keras` file, with its
            `inference.json` beside it; or the name of a model that comes with the package.
        address: `hf://owner/name`, or with the path of the `.keras` file in the repository,
            `hf://owner/name/folder/file.keras`; by default it has the name of the file.
        private: Whether a new repository is private.
        revision: The branch, which is created unless it exists; by default the main one. It may
            also be part of the address.
        license: Identifier of the model's licence, such as "apache-2.0".
        message: Message of the commit.
        dry_run: Whether to push nothing, and only return what would be pushed.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If huggingface_hub is not installed (extra `hub`).
        OSError: If the Hub cannot be reached, or refuses access.
        ValueError: If the address has another form, the file holds no model, or the card beside it
            has another licence.

    Example:
        ```python
        report = push("runs/first", "hf://owner/roads", private=True)
        predictor = pdanet_tf.Predictor(str(report.address))
        ```
    """
    hub = import_hub()
    file = _find_file(source)
    target = _find_target(address, revision, file)
    model, settings = load_model(str(file))
    facts = replace(
        CardFacts.of_model(model, settings, file, license=license),
        title=target.repo.rpartition("/")[2],
        source=f"{PREFIX}{target.repo}",
        file=replace(FileFacts.read(file), name=PurePosixPath(str(target.file)).name),
    )
    card = _make_card(facts, file)
    folder = PurePosixPath(str(target.file)).parent
    contents: dict[str, bytes | Path] = {
        str(target.file): file,
        str(folder / SETTINGS_FILE): facts.settings.to_json().encode(),
        str(folder / CLASSES_FILE): format_class_table(facts.settings.classes).encode(),
        **card.contents,
    }
    sizes = {
        name: content.stat().st_size if isinstance(content, Path) else len(content)
        for name, content in contents.items()
    }
    if dry_run:
        return PushReport(target, None, sizes, card.text, (), card.file, card.unused)
    with explained_errors(hub, target):
        api = hub.HfApi()
        api.create_repo(target.repo, private=private, exist_ok=True)
        if target.revision is not None:
            api.create_branch(target.repo, branch=target.revision, exist_ok=True)
        kept = _remove_kept(api, target, contents)
        commit = api.create_commit(
            target.repo,
            [
                hub.CommitOperationAdd(
                    name, content if isinstance(content, bytes) else str(content)
                )
                for name, content in contents.items()
            ],
            commit_message=message or f"Add {model.name} with pdanet_tf",
            revision=target.revision,
        )
    sizes = {name: size for name, size in sizes.items() if name in contents}
    url = str(commit.commit_url)
    return PushReport(target, url, sizes, card.text, kept, card.file, card.unused)


@dataclass(frozen=True)
class _Card:
    """The card that is pushed: its text, where it comes from, and a card that was not used."""

    text: str
    file: Path | None = None
    unused: Path | None = None

    @property
    def contents(self) -> dict[str, bytes | Path]:
        """The card, and the diagram beside it, by their paths in the repository."""
        diagram = None if self.file is None else diagram_path(self.file)
        beside = {} if diagram is None or not diagram.is_file() else {diagram.name: diagram}
        return {CARD_FILE: self.text.encode(), **beside}


def _make_card(facts: CardFacts, file: Path) -> _Card:
    """Returns the card beside a model's file, or one of what is known without measuring."""
    beside = file.with_name(CARD_FILE)
    text = read_card(beside) if beside.is_file() else ""
    if is_own_card(text):
        if facts.file is not None and facts.file.sha256 in text:
            return _Card(adapt_card(text, facts.source, facts.license), beside)
        return _Card(format_card(facts), unused=beside)
    if not is_card(text):
        return _Card(format_card(facts))
    if facts.license is not None and f"\nlicense: {facts.license}\n" not in text:
        raise ValueError(
            f"{beside} has metadata of its own. Received: license={facts.license!r}; write the "
            "licence there, or leave it out"
        )
    return _Card(text, beside)


def _find_file(source: str | os.PathLike[str]) -> Path:
    """Returns the `.keras` file that is pushed."""
    path = Path(shipped_file(source))
    file = path / BEST_FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        others = sorted(each.name for each in path.glob("*.keras"))
        found = f"it holds {', '.join(others)}" if others else "it holds no .keras file"
        raise FileNotFoundError(
            f"{path}: is not the folder of a run: there is no {BEST_FILE}; {found}. Give a .keras "
            "file"
        )
    if not file.is_file():
        raise FileNotFoundError(f"There is no model file at {file}")
    return file


def _find_target(address: str, revision: str | None, file: Path) -> HubAddress:
    """Returns the address with the file and the branch."""
    target = HubAddress.parse(address)
    if revision is not None and target.revision not in (None, revision):
        raise ValueError(
            f"The address names the revision {target.revision!r}. Received: revision={revision!r}; "
            "leave one of them out"
        )
    target = replace(target, revision=revision or target.revision)
    if re.fullmatch(r"[0-9a-f]{40}|refs/.+", target.revision or ""):
        raise ValueError(
            f"A model can be pushed to a branch only. Received: revision={target.revision!r}"
        )
    if target.file is None:
        return replace(target, file=file.name)
    if not target.file.endswith(".keras"):
        raise ValueError(
            f"The file in the address must end in .keras, or be left out. Received: {str(target)!r}"
        )
    return target


def _remove_kept(
    api: Any, target: HubAddress, contents: dict[str, bytes | Path]
) -> tuple[str, ...]:
    """Removes the card and its diagram from what is pushed if the repository has a card.

    Its owner may have edited that one.
    """
    if not api.file_exists(target.repo, CARD_FILE, revision=target.revision):
        return ()
    del contents[CARD_FILE]
    contents.pop(diagram_path(Path(CARD_FILE)).name, None)
    return (CARD_FILE,)
