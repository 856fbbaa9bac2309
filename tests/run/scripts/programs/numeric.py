"""A computation with numpy; with the argument ``long`` it goes on for ever."""

import os
import sys

import numpy

generator = numpy.random.default_rng(7)
matrix = generator.standard_normal((200, 200))
print(numpy.linalg.det(matrix), numpy.linalg.eigvals(matrix).real.sum())
print(numpy.fft.fft(matrix).imag.std(), numpy.sort(matrix, axis=None)[::4000])
print(matrix[:2, :3])
if "long" in sys.argv:
    os.write(1, b"READY\n")
    try:
        while True:
            matrix = numpy.tanh(matrix @ matrix)
    finally:
        print("cleaned up", matrix.shape)
