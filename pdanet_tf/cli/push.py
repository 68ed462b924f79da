"""The command `push`, and its options."""

import argparse
import sys

from pdanet_tf.base.wording import quantity


def add_push_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `pdanet_tf.sharing.push`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of a run, of which best.keras is pushed; a .keras file; or camvid",
    )
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        help="hf://owner/name, or hf://owner/name/file.keras for another name of the file",
    )
    parser.add_argument(
        "--private", action="store_true", help="make the repository private, if it is new"
    )
    parser.add_argument(
        "--revision", metavar="BRANCH", help="branch, new or not (default: the main branch)"
    )
    parser.add_argument(
        "--license", metavar="LICENCE", help="licence of the model for its card, such as apache-2.0"
    )
    parser.add_argument("--message", help="message of the commit")
    parser.add_argument(
        "--dry-run", action="store_true", help="push nothing; print the files and the card"
    )


def push_model(
    source: str,
    address: str,
    private: bool,
    revision: str | None,
    license: str | None,
    message: str | None,
    dry_run: bool,
) -> None:
    """Pushes a model, and prints what was pushed and how to use it.

    The arguments are those of `pdanet_tf.sharing.push`.
    """
    from pdanet_tf.sharing.card import CARD_FILE
    from pdanet_tf.sharing.pushing import push

    report = push(
        source,
        address,
        private=private,
        revision=revision,
        license=license,
        message=message,
        dry_run=dry_run,
    )
    for name, size in report.sizes.items():
        origin = ""
        if name == CARD_FILE and report.card_file is not None:
            origin = f" (from {report.card_file})"
        print(f"{name}: {quantity(size, 'byte')}{origin}")
    if report.unused_card is not None:
        print(
            f"Note: {report.unused_card} describes another file and was not used; "
            "'pdanet-tf evaluate --card' writes a new one",
            file=sys.stderr,
        )
    if dry_run:
        print(f"\n{report.card}\nNothing was pushed to {report.address} (--dry-run).")
        return
    for name in report.kept:
        print(f"{name} is in the repository and was not changed")
    print(f"Pushed: {report.url}")
    print(f"Use it with: pdanet-tf predict photo.jpg --model {report.address}")
