"""The command: ``python -m quell run …``, and the console script ``quell``.

All of it is native; see ``crates/quell-python/src/run``.
"""

from __future__ import annotations

from quell._quell import _command


def main() -> None:
    """Run the command with ``sys.argv``; ends the process."""
    _command()


if __name__ == "__main__":
    main()
