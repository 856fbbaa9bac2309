"""Imported by imports_sibling.py."""
where = __file__


def fail():
    raise LookupError("in a module")


if __name__ == "__main__":
    print("run by itself")
