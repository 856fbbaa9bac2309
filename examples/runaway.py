"""A script that runs away: `quell run --timeout 2s examples/runaway.py`."""

import tempfile

work = tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False)


def spin():
    """Counts for ever, by mistake."""
    n = 0
    try:
        while n >= 0:
            n += 1
            if n % 1_000_000 == 0:
                work.write(f"{n}\n")
    finally:
        work.close()
        print(f"spin: counted to {n:,} and closed its file", flush=True)


print("spin: starting", flush=True)
spin()
