"""Causes, contexts, notes and groups."""
try:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("second") from error
except ValueError as error:
    error.add_note("a note")
    caught = error
try:
    raise caught
finally:
    raise ExceptionGroup("several", [caught, TypeError("other")])
