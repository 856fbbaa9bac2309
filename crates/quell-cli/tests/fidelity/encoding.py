"""Text beyond ASCII, on both streams."""
import os
import sys

print("žluťoučký 日本 \N{SNAKE}", sys.stdout.encoding, sys.stdout.errors)
print("šumivý", sys.stderr.encoding, sys.stderr.errors, file=sys.stderr)
print(sys.getfilesystemencoding(), os.fsencode(sys.argv[0])[-11:])
