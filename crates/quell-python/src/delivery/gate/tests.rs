//! The analysis of code objects, on the standard library of the interpreter and on small functions.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyCode, PyDict, PyList};

use super::points::{ENTERING, IN_FINALLY, LEAVING, Points, RUDE, SAFE};
use crate::cpython::code::Code;

fn attached<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    Python::initialize();
    Python::attach(f)
}

fn code_of(object: &Bound<'_, PyAny>) -> Code {
    Code::from_object(object.as_ptr()).expect("a code object")
}

/// A function's code object and the source line of each of its instructions by byte offset.
fn compile<'py>(py: Python<'py>, source: &str) -> (Bound<'py, PyAny>, HashMap<i32, usize>) {
    let scope = PyDict::new(py);
    scope.set_item("source", source).expect("set");
    py.run(
        c"import dis
scope = {}
exec(compile(source, 'test', 'exec'), scope)
code = scope['f'].__code__
lines = {}
for start, end, line in code.co_lines():
    for offset in range(start, end, 2):
        lines[offset] = line or 0",
        Some(&scope),
        None,
    )
    .expect("the source compiles");
    let get = |name| scope.get_item(name).expect("get").expect("there");
    (get("code"), get("lines").extract().expect("a dict of ints"))
}

/// The lines (from 1, the `def`) at which the gate may raise politely, and those of `finally` bodies.
fn lines(source: &str) -> (Vec<usize>, Vec<usize>) {
    attached(|py| {
        let (code, lines) = compile(py, source);
        let points = Points::of(py, code_of(&code)).expect("analysed");
        let select = |test: fn(u8) -> bool| {
            let mut found: Vec<usize> = lines
                .iter()
                .filter(|&(&at, _)| test(points.at(at)))
                .map(|(_, &line)| line)
                .collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        (select(|f| f & (SAFE | RUDE) == SAFE), select(|f| f & IN_FINALLY != 0))
    })
}

#[test]
fn not_between_acquire_and_try() {
    let (safe, finally) = lines(
        "def f(lock):
    while True:
        lock.acquire()
        try:
            step()
        finally:
            lock.release()
",
    );
    assert!(safe.contains(&5), "inside the try: {safe:?}");
    assert!(!safe.contains(&4) && !safe.contains(&7), "{safe:?}");
    assert_eq!(finally, [7]);
}

#[test]
fn not_between_open_and_with() {
    attached(|py| {
        let source =
            "def f(path):\n    file = open(path)\n    with file:\n        use(file)\n    done()\n";
        let (code, lines) = compile(py, source);
        let points = Points::of(py, code_of(&code)).expect("analysed");
        let at = |line| lines.iter().filter(move |&(_, &l)| l == line).map(|(&at, _)| at);
        let opens = at(3).min().expect("the with statement");
        assert_eq!(points.at(opens) & SAFE, 0, "the file is about to be protected");
        assert!(at(3).any(|at| points.at(at) & (SAFE | RUDE) == SAFE), "the body begins");
    });
}

#[test]
fn not_before_a_try_after_assignments() {
    // As in `threading.Condition.wait`.
    let (safe, _) = lines(
        "def f(lock):
    state = lock.give_up()
    got = False
    n = 0
    try:
        got = lock.wait()
        got = lock.wait()
    finally:
        lock.restore(state)
",
    );
    assert!(!safe.contains(&3) && !safe.contains(&4), "{safe:?}");
    assert!(safe.contains(&6), "{safe:?}");
}

#[test]
fn a_result_is_stored_before_anything_is_raised() {
    attached(|py| {
        let (code, _) = compile(
            py,
            "def f(q, out):\n    item = q.get()\n    out.append(q.get())\n    return item\n",
        );
        let code = code_of(&code);
        let points = Points::of(py, code).expect("analysed");
        let bytecode = code.bytecode();
        let opcodes: HashMap<String, u16> =
            py.import("opcode").and_then(|m| m.getattr("opmap")?.extract()).expect("opmap");
        for unit in 0..bytecode.len() / 2 {
            let stores = u16::from(bytecode[unit * 2]) == opcodes["STORE_FAST"];
            assert!(
                !(stores && points.at(unit as i32 * 2) & SAFE != 0),
                "before the store at {unit}"
            );
        }
    });
}

#[test]
fn every_way_out_of_a_finally_is_part_of_it() {
    let (safe, finally) = lines(
        "def f(items):
    for item in items:
        try:
            if work(item): return 1
            if work(item): break
            if work(item): continue
        finally:
            first()
            second()
    return 0
",
    );
    assert_eq!(finally, [8, 9]);
    assert!(!safe.contains(&8) && !safe.contains(&9), "{safe:?}");
}

#[test]
fn an_except_clause_is_no_finally() {
    let (safe, finally) = lines(
        "def f():
    try:
        work()
    except (ValueError, KeyError) as error:
        handle(error)
        handle(error)
    except:
        other()
        other()
    else:
        more()
        more()
",
    );
    assert!(finally.is_empty(), "{finally:?}");
    assert!(safe.contains(&5) && safe.contains(&8) && safe.contains(&11), "{safe:?}");
}

#[test]
fn a_with_is_entered_and_left_in_marked_places() {
    attached(|py| {
        let (code, _) = compile(py, "def f(m):\n    with m() as x:\n        use(x)\n    after()\n");
        let code = code_of(&code);
        let points = Points::of(py, code).expect("analysed");
        let flags = |flag| (0..code.bytecode().len() as i32).any(|at| points.at(at) & flag != 0);
        assert!(flags(ENTERING) && flags(LEAVING));
    });
}

#[test]
fn a_call_with_constants_is_no_exit() {
    attached(|py| {
        let source = "def f(g, o):\n    g(1, b=2)\n    g(None, None)\n    o.m(None, None)\n    g(1, 2, 3)\n    g(1, 2, c=3)\n";
        let (code, _) = compile(py, source);
        let code = code_of(&code);
        let points = Points::of(py, code).expect("analysed");
        let marked = (0..code.bytecode().len() as i32).filter(|&at| points.at(at) & LEAVING != 0);
        assert_eq!(marked.count(), 0);
    });
}

#[test]
fn an_except_clause_that_raises_again_is_like_a_finally() {
    let (safe, finally) = lines(
        "def f():
    try:
        work()
        work()
    except BaseException:
        clean_up()
        try:
            clean_up()
        except ValueError:
            pass
        raise
    try:
        work()
    except:
        while True:
            retry()
",
    );
    assert!(finally.contains(&6) && finally.contains(&8) && !finally.contains(&4), "{finally:?}");
    assert!(!safe.contains(&8) && safe.contains(&3) && safe.contains(&16), "{safe:?}");
}

#[test]
fn the_end_of_an_inner_with_is_no_beginning_of_a_body() {
    attached(|py| {
        let source = "def f(a, b):\n    with a:\n        with b:\n            use()\n";
        let (code, _) = compile(py, source);
        let code = code_of(&code);
        let points = Points::of(py, code).expect("analysed");
        // Two bodies begin, and a statement and each of the exits end.
        let safe =
            (0..code.bytecode().len() as i32).step_by(2).filter(|&at| points.at(at) & SAFE != 0);
        let bodies = code.handlers();
        let starts: Vec<_> =
            safe.filter(|at| bodies.iter().any(|h| 2 * h.start as i32 == *at)).collect();
        assert_eq!(starts.len(), 2, "{starts:?} of {bodies:?}");
    });
}

/// Every code object below a module's, by compiling its source.
fn code_objects<'py>(py: Python<'py>, path: &str) -> Vec<Bound<'py, PyAny>> {
    let scope = PyDict::new(py);
    scope.set_item("path", path).expect("set");
    py.run(
        c"import types
found = []
def walk(code):
    found.append(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            walk(constant)
try:
    with open(path, 'rb') as file:
        walk(compile(file.read(), path, 'exec'))
except SyntaxError:
    pass",
        Some(&scope),
        None,
    )
    .expect("walked");
    let found = scope.get_item("found").expect("get").expect("there");
    found.cast::<PyList>().expect("a list").iter().collect()
}

fn library_files(py: Python<'_>) -> Vec<String> {
    let scope = PyDict::new(py);
    py.run(
        c"import glob, os, collections
base = os.path.dirname(os.__file__)
files = sorted(glob.glob(base + '/*.py')) + sorted(glob.glob(base + '/asyncio/*.py'))",
        Some(&scope),
        None,
    )
    .expect("listed");
    scope.get_item("files").expect("get").expect("there").extract().expect("a list of str")
}

#[test]
fn tables_are_decoded_as_the_interpreter_decodes_them() {
    attached(|py| {
        let parse =
            py.import("dis").and_then(|m| m.getattr("_parse_exception_table")).expect("dis");
        for path in
            library_files(py).iter().filter(|p| p.ends_with("ing.py") || p.contains("/asyncio/"))
        {
            for object in code_objects(py, path) {
                let code = code_of(&object);
                let ours: Vec<_> = code
                    .handlers()
                    .iter()
                    .map(|h| (2 * h.start, 2 * h.end, 2 * h.target, h.depth, h.lasti))
                    .collect();
                let theirs: Vec<(usize, usize, usize, i32, bool)> = parse
                    .call1((&object,))
                    .and_then(|rows| {
                        rows.try_iter()?
                            .map(|row| {
                                let row = row?;
                                let get = |name| row.getattr(name);
                                Ok((
                                    get("start")?.extract()?,
                                    get("end")?.extract()?,
                                    get("target")?.extract()?,
                                    get("depth")?.extract()?,
                                    get("lasti")?.extract()?,
                                ))
                            })
                            .collect()
                    })
                    .expect("parsed");
                assert_eq!(ours, theirs, "{path}");
                assert!(object.cast::<PyCode>().is_ok());
                type Position = (Option<i32>, Option<i32>, Option<i32>, Option<i32>);
                let theirs: Vec<Position> = object
                    .call_method0("co_positions")
                    .and_then(|p| p.try_iter()?.map(|row| row?.extract()).collect())
                    .expect("positions");
                let known = |n: i32| (n >= 0).then_some(n);
                let ours: Vec<Position> = code
                    .locations()
                    .into_iter()
                    .map(|l| match l {
                        Some(l) => {
                            (Some(l.start.0), Some(l.end.0), known(l.start.1), known(l.end.1))
                        }
                        None => (None, None, None, None),
                    })
                    .collect();
                assert_eq!(ours, theirs, "{path}");
            }
        }
    });
}

#[test]
fn the_whole_standard_library_can_be_analysed() {
    attached(|py| {
        let (mut functions, mut with_points) = (0, 0);
        for path in library_files(py) {
            for object in code_objects(py, &path) {
                let code = code_of(&object);
                let points = Points::of(py, code).expect("analysed");
                let units = code.bytecode().len() as i32;
                functions += 1;
                with_points += usize::from((0..units).any(|at| points.at(at) & SAFE != 0));
            }
        }
        // Class bodies and the shortest lambdas aside, every function has a place to raise at.
        assert!(with_points * 10 > functions * 9, "{with_points} of {functions}");
    });
}
