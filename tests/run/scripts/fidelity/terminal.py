"""Talks to a person at a terminal."""

import os
import sys

print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), sys.stdout.line_buffering)
print(os.ttyname(0) == os.ctermid() or os.tcgetpgrp(0) == os.getpgrp())
name = input("name? ")
print(f"hello {name}", flush=True)
try:
    input("again? ")
except EOFError:
    print("\nend")
