/* Calls a function of Python's in another thread state of the calling thread, as a program does that keeps several and swaps them. */

typedef struct state state;
extern void *PyInterpreterState_Get(void);
extern state *PyThreadState_New(void *interpreter);
extern state *PyThreadState_Swap(state *state);
extern void PyThreadState_Clear(state *state);
extern void PyThreadState_Delete(state *state);
extern void *PyObject_CallNoArgs(void *function);
extern void PyErr_Print(void);

/* What the function returns, or null, when the exception was printed. */
void *in_another_state(void *function) {
    state *other = PyThreadState_New(PyInterpreterState_Get());
    state *own = PyThreadState_Swap(other);
    void *result = PyObject_CallNoArgs(function);
    if (!result) PyErr_Print();
    PyThreadState_Clear(other);
    PyThreadState_Swap(own);
    PyThreadState_Delete(other);
    return result;
}
