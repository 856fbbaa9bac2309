"""A module of the package."""
import sys

print(__name__, __package__, sys.argv)
sys.exit(2)
