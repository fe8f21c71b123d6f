"""The last calls of kernels, kept in C while someone watches: when each was, on which thread, and on how much.

Python's own tuples and clocks cost half a microsecond a call, 2 % of an indicator on 250 rows of 5; this a tenth.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.ref cimport PyObject
from cpython.time cimport perf_counter

cdef extern from "Python.h":
    object PyObject_CallObject(object, object)

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept

cdef extern from *:
    """
    /* threads may write at once where there is no GIL */
    #define wb_next(count) __atomic_fetch_add(count, 1, __ATOMIC_RELAXED)
    """
    Py_ssize_t next_of "wb_next"(Py_ssize_t *) noexcept

cdef struct Entry:
    PyObject *function
    double begun
    double ended
    unsigned long thread
    Py_ssize_t rows
    Py_ssize_t nbytes
    Py_ssize_t planes


cdef class Ring:
    """A ring of `size` calls: its `record` is what `workbench.hooks.kernel` is while kernels are recorded."""

    cdef Entry *entries
    cdef set functions  # that entries point to
    cdef Py_ssize_t size, count

    def __cinit__(self, Py_ssize_t size):
        self.entries = <Entry *>PyMem_RawCalloc(size, sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError(f"a ring of {size:,} calls takes {size * sizeof(Entry):,} bytes")
        self.size, self.count, self.functions = size, 0, set()

    def __dealloc__(self):
        PyMem_RawFree(self.entries)

    def record(self, function, Py_ssize_t planes, tuple arguments):
        """Call a kernel, as `workbench.hooks.kernel` is called, and keep when that was, unless it raises."""
        cdef double begun = perf_counter(), ended
        cdef Entry *entry
        first = arguments[0]
        PyObject_CallObject(function, arguments)
        ended = perf_counter()
        if function not in self.functions:
            self.functions.add(function)
        entry = &self.entries[next_of(&self.count) % self.size]
        entry.function = <PyObject *>function
        entry.begun = begun
        entry.ended = ended
        entry.thread = PyThread_get_thread_ident()
        entry.rows = len(first)
        entry.nbytes = first.nbytes
        entry.planes = planes

    @property
    def full(self):
        """Whether the first calls have been written over, or will be by the next."""
        return self.count >= self.size

    def calls(self):
        """The calls in the order of their ends: tuples (function, begun, ended, thread, rows, nbytes, planes)."""
        cdef Py_ssize_t i
        cdef Entry *e
        found = []
        for i in range(max(0, self.count - self.size), self.count):
            e = &self.entries[i % self.size]
            found.append((<object>e.function, e.begun, e.ended, e.thread, e.rows, e.nbytes, e.planes))
        return found
