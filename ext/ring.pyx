"""The last calls of kernels, kept in C while someone watches: when each was, on which thread, and on how much.

Python's own tuples and clocks cost half a microsecond a call, 2 % of an indicator on 250 rows of 5. Much of the rest is
that kernels put all of this out of the cache; on common pages the first write to each would be as much again.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t
from numpy cimport PyArray_NBYTES, PyArray_SAMESHAPE, ndarray

cdef extern from "Python.h":
    object PyObject_CallObject(object, object)

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept

cdef extern from *:
    """
    #include <stdlib.h>
    #include <time.h>
    #ifdef __APPLE__
        #define WB_CLOCK CLOCK_UPTIME_RAW
    #else
        #define WB_CLOCK CLOCK_MONOTONIC
    #endif
    /* as time.perf_counter_ns, without its checks */
    static inline long long wb_now(void) {
        struct timespec now;
        clock_gettime(WB_CLOCK, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    #ifdef __linux__
        #include <sys/mman.h>
        #define wb_huge(block, bytes) madvise(block, bytes, MADV_HUGEPAGE)
    #else
        #define wb_huge(block, bytes) (void)0
    #endif
    static void *wb_pages(size_t count, size_t bytes) {
        void *block = NULL;
        if (bytes > (size_t)PY_SSIZE_T_MAX / count || posix_memalign(&block, 2 << 20, count * bytes)) return NULL;
        wb_huge(block, count * bytes);
        return block;
    }
    /* threads may write at once where there is no GIL */
    #define wb_next(count) __atomic_fetch_add(count, 1, __ATOMIC_RELAXED)
    """
    int64_t now "wb_now"() noexcept
    void *wb_pages(size_t count, size_t bytes) noexcept
    void free(void *) noexcept
    Py_ssize_t next_of "wb_next"(Py_ssize_t *) noexcept

cdef struct Entry:
    PyObject *function
    int64_t begun
    int64_t ended
    unsigned long thread
    Py_ssize_t rows
    Py_ssize_t nbytes


cdef class Ring:
    """A ring of `size` calls: its `record` is what `workbench.hooks.kernel` is while kernels are recorded."""

    cdef Entry *entries
    cdef set functions  # that entries point to
    cdef PyObject *former  # the last of them
    cdef Py_ssize_t size, count

    def __cinit__(self, Py_ssize_t size):
        self.entries = <Entry *>wb_pages(size, sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError(f"a ring of {size:,} calls takes {size * <object>sizeof(Entry):,} bytes")
        self.size, self.functions = size, set()
        self.entries[0].function = NULL  # the first page is there before the first call

    def __dealloc__(self):
        free(self.entries)

    def record(self, function, tuple arguments):
        """Call a kernel, as `workbench.hooks.kernel` is called, and keep when that was, unless it raises."""
        cdef int64_t begun = now(), ended
        cdef Entry *entry
        cdef ndarray first = arguments[0]
        cdef Py_ssize_t planes = 0
        PyObject_CallObject(function, arguments)
        ended = now()
        for each in arguments:
            if isinstance(each, ndarray) and PyArray_SAMESHAPE(first, <ndarray>each):
                planes += 1
        if <PyObject *>function != self.former:
            self.functions.add(function)
            self.former = <PyObject *>function
        entry = &self.entries[next_of(&self.count) % self.size]
        entry.function = <PyObject *>function
        entry.begun = begun
        entry.ended = ended
        entry.thread = PyThread_get_thread_ident()
        entry.rows = first.shape[0]
        entry.nbytes = planes * PyArray_NBYTES(first)

    @property
    def full(self):
        """Whether the first calls have been written over."""
        return self.count > self.size

    def calls(self):
        """The calls in the order of their ends: tuples (function, begun, ended, thread, rows, bytes)."""
        cdef Py_ssize_t i
        cdef Entry *e
        found = []
        for i in range(max(0, self.count - self.size), self.count):
            e = &self.entries[i % self.size]
            found.append((<object>e.function, e.begun / 1e9, e.ended / 1e9, e.thread, e.rows, e.nbytes))
        return found
