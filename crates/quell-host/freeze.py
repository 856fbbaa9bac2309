"""Compiles the package for building it into the command.

Usage: freeze.py PACKAGE OUT. For every module of the package its code, marshalled, and a Rust file that names them:
an array of (name, code, whether it is a package).
"""

import marshal
import pathlib
import sys

package, out = map(pathlib.Path, sys.argv[1:])
modules = {}
for path in sorted(package.rglob("*.py")):
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    shown = "<quell>/" + "/".join(path.relative_to(package).parts)
    modules[name] = (compile(path.read_bytes(), shown, "exec", dont_inherit=True), is_package)
# The native half is a built-in module of the command, under a name at the top: CPython 3.11.2 finds no dotted one.
modules[f"{package.name}._quell"] = (
    compile("import sys, _quell; sys.modules[__name__] = _quell", "<quell>/_quell", "exec"),
    False,
)
rows = []
for name, (code, is_package) in modules.items():
    (out / f"{name}.frozen").write_bytes(marshal.dumps(code))
    rows.append(
        f'    (c"{name}", include_bytes!(concat!(env!("OUT_DIR"), "/{name}.frozen")), {str(is_package).lower()}),\n'
    )
(out / "frozen.rs").write_text("&[\n" + "".join(rows) + "]\n")
