"""SystemExit in the forms it is raised in; the form is the first argument."""
import sys

form = sys.argv[1]
print("leaving", form, flush=True)
if form == "bare":
    raise SystemExit
if form == "none":
    sys.exit(None)
if form == "three":
    sys.exit(3)
if form == "negative":
    sys.exit(-1)
if form == "large":
    sys.exit(300)
if form == "huge":
    sys.exit(1 << 80)
if form == "text":
    sys.exit("a reason")
if form == "object":
    sys.exit([1, 2])
if form == "true":
    sys.exit(True)
if form == "quit":
    quit(4)
if form == "finally":
    try:
        sys.exit(5)
    finally:
        print("cleanup")
if form == "interrupt":
    raise KeyboardInterrupt
if form == "generator":
    raise GeneratorExit("unusual")
