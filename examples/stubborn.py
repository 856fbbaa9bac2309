"""A script that swallows every exception: `quell run --timeout 1s examples/stubborn.py` ends it all the same."""

attempts = 0
try:
    while True:
        try:
            while True:
                pass
        except BaseException:
            attempts += 1
finally:
    print(f"swallowed {attempts} exceptions, and cleaned up", flush=True)
