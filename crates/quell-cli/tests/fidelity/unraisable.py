"""Exceptions where nobody can catch them."""


class Falls:
    def __del__(self):
        raise ValueError("in a finalizer")


Falls()
kept = Falls()
print("end")
