"""Does not compile."""
print("never")
def f(:
    pass
