"""Reads what is piped in."""
import sys

name = input("name? ")
print("hello", name)
print(sys.stdin.read().splitlines())
try:
    input()
except EOFError as error:
    print(repr(error))
print(sys.stdin, sys.stdout, sys.stderr, sep="\n")
print(sys.stdin.isatty(), sys.stdout.line_buffering, sys.stderr.line_buffering)
