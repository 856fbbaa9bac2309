/* Classes whose methods do nothing: what is left of a call is the interpreter's. See empty_calls.py. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

/* ---- put(item, block, timeout), get(block, timeout), notify(n): arguments as those of the real ones */

typedef struct {
    PyObject_HEAD
    PyObject *item;
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
    PyObject_Free(self);
    Py_DECREF(type);
}

#define KEYWORDS(name, function) \
    {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS, NULL}

static PyMethodDef empty_methods[] = {
    KEYWORDS("put", nothing), KEYWORDS("get", nothing), KEYWORDS("notify", nothing), {NULL},
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

/* ---- the same, bound to the object, by bindings from a pool */

typedef struct Pool Pool;

typedef struct Binding {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *self;
    Pool *pool;
    struct Binding *next;
} Binding;

struct Pool {
    PyObject_HEAD
    Binding *free;
};

static PyTypeObject *binding_type;

static PyObject *bind(PyObject *pool, PyObject *self, PyObject *type) {
    Binding *binding = ((Pool *)pool)->free;
    if (binding) {
        ((Pool *)pool)->free = binding->next;
        Py_INCREF(binding);
    } else {
        binding = PyObject_New(Binding, binding_type);
        if (!binding) return NULL;
        binding->call = call_nothing;
        binding->pool = (Pool *)pool;
    }
    binding->self = Py_NewRef(self);
    return (PyObject *)binding;
}

static void unbind(PyObject *self) {
    Binding *binding = (Binding *)self;
    binding->next = binding->pool->free;
    binding->pool->free = binding;
    Py_DECREF(binding->self);
}

static PyMemberDef binding_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Binding, call), READONLY}, {NULL},
};

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
    PyType_Slot callee[] = {
        {Py_tp_members, nothing_members}, {Py_tp_call, PyVectorcall_Call}, {Py_tp_dealloc, drop}, {0},
    };
    PyType_Slot pool[] = {{Py_tp_descr_get, bind}, {Py_tp_dealloc, drop}, {0}};
    PyType_Slot binding[] = {
        {Py_tp_members, binding_members}, {Py_tp_call, PyVectorcall_Call}, {Py_tp_dealloc, unbind}, {0},
    };
    PyTypeObject *empty_type = make("empty_calls.Empty", sizeof(PyObject), 0, empty);
    PyTypeObject *unbound_type = make("empty_calls.Unbound", sizeof(PyObject), 0, empty);
    PyTypeObject *pooled_type = make("empty_calls.Pooled", sizeof(PyObject), 0, empty);
    PyTypeObject *box_type = make("empty_calls.Box", sizeof(Box), 0, box);
    PyTypeObject *nothing_type =
        make("empty_calls.Nothing", sizeof(Nothing), Py_TPFLAGS_HAVE_VECTORCALL, callee);
    PyTypeObject *pool_type = make("empty_calls.Pool", sizeof(Pool), 0, pool);
    binding_type = make("empty_calls.Binding", sizeof(Binding), Py_TPFLAGS_HAVE_VECTORCALL, binding);
    if (!module || !empty_type || !unbound_type || !pooled_type || !box_type || !nothing_type
        || !pool_type || !binding_type) {
        return NULL;
    }
    Nothing *callable = PyObject_New(Nothing, nothing_type);
    Pool *enter = PyObject_New(Pool, pool_type), *exit = PyObject_New(Pool, pool_type);
    if (!callable || !enter || !exit) return NULL;
    callable->call = call_nothing;
    enter->free = exit->free = NULL;
    if (guard(unbound_type, (PyObject *)callable, (PyObject *)callable)
        || guard(pooled_type, (PyObject *)enter, (PyObject *)exit)
        || PyModule_AddType(module, empty_type) || PyModule_AddType(module, unbound_type)
        || PyModule_AddType(module, pooled_type) || PyModule_AddType(module, box_type)) {
        return NULL;
    }
    return module;
}
