"""Mixes the ways to write, and reads what it is given."""

import os
import sys

print("buffered one")
os.write(1, b"raw two\n")
sys.stdout.write("buffered three\n")
print("error one", file=sys.stderr)
os.write(2, b"raw error two\n")
sys.stderr.write("error without end of line")
sys.stderr.buffer.write(b"\nbytes \xff\n")
sys.stdout.flush()
sys.stdout.buffer.write(b"bytes \xff\n")
os.write(1, b"raw four\n")
print("line:", sys.stdin.readline().rstrip())
print("input:", input("prompt> "))
print("rest:", sys.stdin.buffer.read())
try:
    input()
except EOFError as error:
    print("end:", error)
print("not flushed by hand")
