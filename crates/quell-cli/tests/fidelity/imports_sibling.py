"""A module beside the script, not beside the caller."""
import beside

print(beside.where.endswith("beside.py"))
beside.fail()
