//! What `--help` prints.

/// `quell --help`.
pub(super) const QUELL: &str = "\
quell runs Python scripts that can always be stopped.

Usage:
  quell run [OPTIONS] (SCRIPT | -m MODULE | -c CODE | -) [ARGS...]
  quell --version
  quell run --help
";

/// `quell run --help`.
pub(super) const RUN: &str = "\
Run a Python script as `python` would, and end it at its limit, whatever it does.

Usage:
  quell run [OPTIONS] (SCRIPT | -m MODULE | -c CODE | -) [ARGS...]

What to run, as for python; everything after it belongs to the script:
  SCRIPT               a file, or a directory or zip archive with a __main__.py
  -m MODULE            a module or package
  -c CODE              the code itself
  -                    the code on standard input

Limits (none is set unless asked for):
  --timeout DURATION   time on the clock since the start    2  2s  250ms  1m30s
  --cpu DURATION       processor time, of all threads and children
  --memory SIZE        resident memory, children included   512M  1.5GiB  200MB

At a limit an exception is raised in the main thread, then in every other thread that keeps the
process alive, again and again; at the end of the grace the process is ended.
  --grace DURATION     time that the script has to unwind   [default: 1s]
  --no-patch           leave the standard library as it is: without this its blocking calls can be
                       interrupted in every thread
  --exception NAME     raise this instead of quell.TimeLimit, quell.CpuLimit, quell.MemoryLimit:
                       a built-in exception (KeyboardInterrupt) or package.module:Class

Output, all of it on standard error:
  --report human|json  the form of the report after a limit [default: human]
  --report-file PATH   write the report there instead
  --progress           show time, processor time, memory and threads while running (terminals only)
  -q, --quiet          no report

Exit status: the script's own; 124 when a limit was reached; 125 when quell itself failed; 128+N
when a signal N ended the process.

Options of the interpreter are set by its environment variables (PYTHONUNBUFFERED=1, PYTHONWARNINGS=...).
";
