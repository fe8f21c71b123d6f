# What every kernel shares: the fused element type, and rows that the compiler may take as not overlapping.

ctypedef fused real:
    float
    double

cdef extern from * nogil:
    """
    #include <math.h>
    typedef double *__restrict wb_row;
    typedef float *__restrict wb_single_row;
    """
    ctypedef double* row "wb_row"
    ctypedef float* single_row "wb_single_row"
    double NAN
    double INFINITY
    double sqrt(double) noexcept
    double fabs(double) noexcept
    double fma(double, double, double) noexcept
    void prefetch "__builtin_prefetch"(const void*, int) noexcept


cdef inline void fill(row a, Py_ssize_t n, double value) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        a[j] = value


cdef inline double divided(double v, double divisor, double inverse) noexcept nogil:
    # v / divisor rounded as a division rounds it (Markstein 1990), at a third of its price; not for an infinite v
    cdef double q = v * inverse
    return fma(fma(-q, divisor, v), inverse, q)


# the rows of an output, so that no pass has to find out first that they overlap none of its inputs
ctypedef fused real_row:
    single_row
    row
