"""Looks at Python's global lock (GIL) that never ask for it: so they hold nobody up, and see holds of any length.

The interpreter keeps in memory whether the lock is taken, and that can be read without it. Where it stands is not part
of Python's interface: 3.11 tells it by a call, 3.12 and 3.13 in a structure; of others it is not known.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.time cimport perf_counter
from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <time.h>
    #if defined(Py_GIL_DISABLED) || defined(PYPY_VERSION) || PY_VERSION_HEX >= 0x030E0000
        #define WB_KNOWN 0
        #define wb_lock() NULL
        #define wb_taken(lock) 0
    #elif PY_VERSION_HEX >= 0x030C0000
        #define Py_BUILD_CORE 1
        #undef _PyGC_FINALIZED
        #include "internal/pycore_interp.h"
        #undef Py_BUILD_CORE
        #define WB_KNOWN 1
        #define wb_lock() ((void *)PyInterpreterState_Get()->ceval.gil)
        #define wb_locked(lock) ((int *)&((struct _gil_runtime_state *)(lock))->locked)
        #define wb_taken(lock) (__atomic_load_n(wb_locked(lock), __ATOMIC_RELAXED) > 0)
    #else
        #define WB_KNOWN 1
        #define wb_lock() NULL
        #define wb_taken(lock) ((void)(lock), _PyThreadState_UncheckedGet() != NULL)
    #endif
    static void wb_sleep(double seconds) {
        struct timespec span = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
        nanosleep(&span, NULL);
    }
    """
    const int WB_KNOWN
    void *wb_lock() noexcept
    bint wb_taken(void *) noexcept nogil
    void wb_sleep(double) noexcept nogil

KNOWN = bool(WB_KNOWN)  # whether this interpreter tells


cdef class Looks:
    """The last `size` looks: when each was, by `time.perf_counter`, and whether the lock was taken then."""

    cdef double *moments  # negative where it was taken
    cdef Py_ssize_t size
    cdef uint32_t drawn
    cdef readonly Py_ssize_t count, taken
    cdef bint over

    def __cinit__(self, Py_ssize_t size):
        self.moments = <double *>PyMem_RawCalloc(size, sizeof(double))
        if self.moments == NULL:
            raise MemoryError(f"{size:,} looks take {size * sizeof(double):,} bytes")
        self.size, self.drawn = size, 1

    def __dealloc__(self):
        PyMem_RawFree(self.moments)

    def watch(self, double interval):
        """Look each `interval` seconds until `stop`, by chance up to half of it sooner or later.

        At equal distances, work of the same period would be seen at the same place of it each time.
        """
        cdef void *lock = wb_lock()
        cdef double due, now
        cdef bint taken
        with nogil:
            due = perf_counter()
            while True:
                self.drawn = self.drawn * 1_664_525 + 1_013_904_223  # Knuth and Lewis
                due += interval * (0.5 + self.drawn / 4_294_967_296.0)
                now = perf_counter()
                if now < due:
                    wb_sleep(due - now)
                else:
                    due = now  # late by a CPU that was busy: the next is an interval from here
                if self.over:
                    break
                taken = wb_taken(lock)
                now = perf_counter()
                self.moments[self.count % self.size] = -now if taken else now
                self.taken += taken
                self.count += 1

    def stop(self):
        self.over = True

    def kept(self):
        """Those that are kept, as doubles in the order of their places: negative where the lock was taken."""
        return (<char *>self.moments)[:min(self.count, self.size) * sizeof(double)]
