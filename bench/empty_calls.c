/* Classes whose methods do nothing: what is left of a call is the interpreter's. See empty_calls.py. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

/* ---- put(item, block, timeout), get(block, timeout), notify(n): arguments as those of the real ones */

typedef struct {
    PyObject_HEAD
    PyObject *item;
    /* Of attributes; in classes that have room for it. */
    PyObject *dict;
} Box;

static PyObject *nothing(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_RETURN_NONE;
}

static PyObject *put(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_XSETREF(((Box *)self)->item, Py_NewRef(args[0]));
    Py_RETURN_NONE;
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *item = ((Box *)self)->item;
    ((Box *)self)->item = NULL;
    return item ? item : Py_NewRef(Py_None);
}

static void drop_box(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((Box *)self)->item);
    Py_XDECREF(((Box *)self)->dict);
    PyObject_Free(self);
    Py_DECREF(type);
}

#define KEYWORDS(name, function) \
    {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS, NULL}

static PyMethodDef empty_methods[] = {
    KEYWORDS("put", nothing), KEYWORDS("get", nothing), KEYWORDS("notify", nothing), {NULL},
};

/* With a dictionary, as CPython 3.11 makes one for each object that may have attributes, to know the methods of which it looks there. */
static PyObject *make_box(PyTypeObject *type, PyObject *args, PyObject *names) {
    Box *box = (Box *)PyType_GenericAlloc(type, 0);
#if PY_VERSION_HEX < 0x030c0000
    if (box && !(box->dict = PyDict_New())) Py_CLEAR(box);
#endif
    return (PyObject *)box;
}

static PyMemberDef box_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Box, dict), READONLY}, {NULL},
};

static PyMethodDef box_methods[] = {KEYWORDS("put", put), KEYWORDS("get", get), {NULL}};

/* ---- __enter__ and __exit__ that are one object, which is there already: nothing is bound */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
} Nothing;

static PyObject *call_nothing(PyObject *callee, PyObject *const *args, size_t count, PyObject *names) {
    Py_RETURN_NONE;
}

static void drop(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMemberDef nothing_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Nothing, call), READONLY}, {NULL},
};

/* ---- the same, bound to the object, by bindings that are a part of it */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *self;
} Binding;

typedef struct {
    PyObject_HEAD
    Binding enter, exit;
} Guard;

/* Binds to the part of the object that is so far from its beginning. */
typedef struct {
    PyObject_HEAD
    Py_ssize_t offset;
} Binder;

static PyTypeObject *binding_type;

static PyObject *bind(PyObject *binder, PyObject *self, PyObject *type) {
    Binding *binding = (Binding *)((char *)self + ((Binder *)binder)->offset);
    Py_SET_REFCNT((PyObject *)binding, 1);
    Py_INCREF(self);
    return (PyObject *)binding;
}

/* Frees nothing: it stays where it is. */
static void unbind(PyObject *self) {
    Py_DECREF(((Binding *)self)->self);
}

static PyMemberDef binding_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Binding, call), READONLY}, {NULL},
};

static PyObject *make_guard(PyTypeObject *type, PyObject *args, PyObject *names) {
    Guard *guard = (Guard *)PyType_GenericAlloc(type, 0);
    if (!guard) return NULL;
    Binding *bindings[] = {&guard->enter, &guard->exit};
    for (int i = 0; i < 2; i++) {
        Py_SET_TYPE((PyObject *)bindings[i], binding_type);
        bindings[i]->call = call_nothing;
        bindings[i]->self = (PyObject *)guard;
    }
    return (PyObject *)guard;
}

/* ---- the module */

static PyTypeObject *make(const char *name, int size, unsigned long flags, PyType_Slot *slots) {
    PyType_Spec spec = {name, size, 0, Py_TPFLAGS_DEFAULT | flags, slots};
    return (PyTypeObject *)PyType_FromSpec(&spec);
}

static int guard(PyTypeObject *type, PyObject *enter, PyObject *exit) {
    return PyObject_SetAttrString((PyObject *)type, "__enter__", enter)
        || PyObject_SetAttrString((PyObject *)type, "__exit__", exit);
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "empty_calls", NULL, -1, NULL};

PyMODINIT_FUNC PyInit_empty_calls(void) {
    PyObject *module = PyModule_Create(&definition);
    PyType_Slot empty[] = {{Py_tp_methods, empty_methods}, {Py_tp_dealloc, drop}, {0}};
    PyType_Slot box[] = {{Py_tp_methods, box_methods}, {Py_tp_dealloc, drop_box}, {0}};
    PyType_Slot attributes[] = {
        {Py_tp_methods, box_methods}, {Py_tp_members, box_members}, {Py_tp_new, make_box},
        {Py_tp_dealloc, drop_box}, {0},
    };
    PyType_Slot callee[] = {
        {Py_tp_members, nothing_members}, {Py_tp_call, PyVectorcall_Call}, {Py_tp_dealloc, drop}, {0},
    };
    PyType_Slot bound[] = {
        {Py_tp_methods, empty_methods}, {Py_tp_new, make_guard}, {Py_tp_dealloc, drop}, {0},
    };
    PyType_Slot binder[] = {{Py_tp_descr_get, bind}, {Py_tp_dealloc, drop}, {0}};
    PyType_Slot binding[] = {
        {Py_tp_members, binding_members}, {Py_tp_call, PyVectorcall_Call}, {Py_tp_dealloc, unbind}, {0},
    };
    PyTypeObject *empty_type = make("empty_calls.Empty", sizeof(PyObject), 0, empty);
    PyTypeObject *unbound_type = make("empty_calls.Unbound", sizeof(PyObject), 0, empty);
    PyTypeObject *bound_type = make("empty_calls.Bound", sizeof(Guard), 0, bound);
    PyTypeObject *box_type = make("empty_calls.Box", sizeof(Box), 0, box);
    PyTypeObject *attributes_type = make("empty_calls.Attributes", sizeof(Box), 0, attributes);
    PyTypeObject *nothing_type =
        make("empty_calls.Nothing", sizeof(Nothing), Py_TPFLAGS_HAVE_VECTORCALL, callee);
    PyTypeObject *binder_type = make("empty_calls.Binder", sizeof(Binder), 0, binder);
    binding_type = make("empty_calls.Binding", sizeof(Binding), Py_TPFLAGS_HAVE_VECTORCALL, binding);
    if (!module || !empty_type || !unbound_type || !bound_type || !box_type || !attributes_type || !nothing_type
        || !binder_type || !binding_type) {
        return NULL;
    }
    Nothing *callable = PyObject_New(Nothing, nothing_type);
    Binder *enter = PyObject_New(Binder, binder_type), *exit = PyObject_New(Binder, binder_type);
    if (!callable || !enter || !exit) return NULL;
    callable->call = call_nothing;
    enter->offset = offsetof(Guard, enter);
    exit->offset = offsetof(Guard, exit);
    if (guard(unbound_type, (PyObject *)callable, (PyObject *)callable)
        || guard(bound_type, (PyObject *)enter, (PyObject *)exit)
        || PyModule_AddType(module, empty_type) || PyModule_AddType(module, unbound_type)
        || PyModule_AddType(module, bound_type) || PyModule_AddType(module, box_type)
        || PyModule_AddType(module, attributes_type)) {
        return NULL;
    }
    return module;
}
