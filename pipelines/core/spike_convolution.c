/* Convolution of spikes: a unit that is silent costs nothing.
 *
 * Compiled once per number format REAL. An output is the sum of the rows of weights that the spikes
 * in its window select, and its gradient is added to just these rows. Maps are
 * [images, height, width, channels]; the kernel is odd, the stride one, the border zero.
 *
 * Spikes are listed row by row of a map as position * channels + channel, which is also, less the
 * left edge of a window, the row of weights [kernel, kernel * in] that they select in it: those of a
 * window's row stand side by side in the list. `starts` says where each position begins,
 * [images, height, width + 1].
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A vector is as wide as a register: gcc takes wider ones through memory. */
#if defined(__AVX512F__)
enum { BYTES = 64 };
#else
enum { BYTES = 32 };
#endif

#if defined(FLOAT64)
typedef double REAL;
typedef uint64_t BITS;
#else
typedef float REAL;
typedef uint32_t BITS;
#endif

enum { LANES = BYTES / sizeof(REAL) };
typedef REAL Vector __attribute__((vector_size(BYTES)));

#define INLINE static inline __attribute__((always_inline))

typedef struct {
  int64_t images, height, width, in, out, kernel;
  int64_t limit; /* how many spikes the list has room for */
} Shape;

/* List what is one. Returns how many there are; or -1 if the list might not hold them, or a number is
 * neither zero nor one. */
int64_t find_spikes(const REAL *x, const Shape *p, int32_t *spikes, int32_t *starts) {
  const REAL one = 1;
  BITS of_one, other = 0;
  memcpy(&of_one, &one, sizeof(one));
  int64_t n = 0;
  for (int64_t row = 0; row < p->images * p->height; row++) {
    if (other || n + p->width * p->in > p->limit) return -1;
    for (int64_t j = 0; j < p->width; j++) {
      *starts++ = (int32_t)n;
      for (int64_t i = 0; i < p->in; i++, x++) {
        BITS bits;
        memcpy(&bits, x, sizeof(bits));
        const int64_t fired = bits != 0;
        spikes[n] = (int32_t)(j * p->in + i); /* stays if it fired */
        n += fired;
        other |= (bits ^ of_one) & -(BITS)fired;
      }
    }
    *starts++ = (int32_t)n;
  }
  return other ? -1 : n;
}

/* Some channels of the output, at most n vectors of them, and the weights that lead there:
 * [kernel, kernel * in, n vectors]. */
typedef struct {
  int64_t from, channels;
  Vector *weights;
} Slice;

static int64_t rows_of(const Shape *p) { return p->kernel * p->kernel * p->in; }

/* The spikes that row m of the window around (i, j) sees; with `shift`, they are rows of weights. */
typedef struct {
  const int32_t *first, *last;
  int64_t shift;
} Seen;

INLINE Seen seen(const int32_t *spikes, const int32_t *starts, const Shape *p, int64_t i, int64_t j,
                 int64_t m) {
  const int64_t border = p->kernel / 2, row = i + m - border;
  if (row < 0 || row >= p->height) return (Seen){0};
  const int64_t left = j > border ? j - border : 0;
  const int64_t right = j + border < p->width ? j + border + 1 : p->width;
  const int32_t *at = starts + row * (p->width + 1);
  return (Seen){.first = spikes + at[left],
                .last = spikes + at[right],
                .shift = (m * p->kernel - (j - border)) * p->in};
}

INLINE void forward_slice(const int32_t *spikes, const int32_t *starts, const Shape *shape,
                          const Slice *whole, REAL *y, int64_t n, int64_t channels) {
  const Shape here = *shape, *p = &here; /* no write can change it, nor the slice */
  const Slice slice = *whole;
  y += slice.from;
  for (int64_t image = 0; image < p->images; image++, starts += p->height * (p->width + 1))
    for (int64_t i = 0; i < p->height; i++)
      for (int64_t j = 0; j < p->width; j++, y += p->out) {
        Vector sum[n];
        memset(sum, 0, sizeof(sum));
        for (int64_t m = 0; m < p->kernel; m++) {
          const Seen of = seen(spikes, starts, p, i, j, m);
          for (const int32_t *at = of.first; at < of.last; at++)
            for (int64_t v = 0; v < n; v++) sum[v] += slice.weights[(*at + of.shift) * n + v];
        }
        memcpy(y, sum, channels * sizeof(REAL));
      }
}

INLINE void backward_slice(const int32_t *spikes, const int32_t *starts, const Shape *shape,
                           const Slice *whole, const REAL *grad, int64_t n, int64_t channels) {
  const Shape here = *shape, *p = &here;
  const Slice slice = *whole;
  grad += slice.from;
  for (int64_t image = 0; image < p->images; image++, starts += p->height * (p->width + 1))
    for (int64_t i = 0; i < p->height; i++)
      for (int64_t j = 0; j < p->width; j++, grad += p->out) {
        Vector gradient[n];
        memset(gradient, 0, sizeof(gradient));
        memcpy(gradient, grad, channels * sizeof(REAL));
        for (int64_t m = 0; m < p->kernel; m++) {
          const Seen of = seen(spikes, starts, p, i, j, m);
          for (const int32_t *at = of.first; at < of.last; at++)
            for (int64_t v = 0; v < n; v++) slice.weights[(*at + of.shift) * n + v] += gradient[v];
        }
      }
}

/* Call a function with its last arguments, vectors and channels of a slice, known to the compiler;
 * channels are not where the last vector is not full. */
#define CASE(function, vectors, ...)                                                          \
  case vectors:                                                                               \
    if (channels == vectors * LANES) function(__VA_ARGS__, vectors, vectors * LANES);         \
    else function(__VA_ARGS__, vectors, channels);                                            \
    break
#define SPECIALIZE(function, ...)                                                             \
  switch (n) {                                                                                \
    CASE(function, 1, __VA_ARGS__);                                                           \
    CASE(function, 2, __VA_ARGS__);                                                           \
    CASE(function, 3, __VA_ARGS__);                                                           \
    CASE(function, 4, __VA_ARGS__);                                                           \
    CASE(function, 5, __VA_ARGS__);                                                           \
    CASE(function, 6, __VA_ARGS__);                                                           \
    CASE(function, 7, __VA_ARGS__);                                                           \
    CASE(function, 8, __VA_ARGS__);                                                           \
  }

enum { WIDEST = 8 }; /* vectors: the sums of a slice stay in registers */

/* The channels that follow, and no weights yet. Returns how many vectors they fill. */
static int64_t next_slice(const Shape *p, Slice *slice) {
  const int64_t left = p->out - slice->from;
  slice->channels = left < WIDEST * LANES ? left : WIDEST * LANES;
  const int64_t n = (slice->channels + LANES - 1) / LANES;
  memset(slice->weights, 0, rows_of(p) * n * sizeof(Vector));
  return n;
}

static Slice first_slice(const Shape *p) {
  return (Slice){.weights = aligned_alloc(BYTES, rows_of(p) * WIDEST * sizeof(Vector))};
}

/* y, from weights [kernel, kernel, in, out]. */
void forward(const int32_t *spikes, const int32_t *starts, const REAL *weights, const Shape *p,
             REAL *y) {
  for (Slice slice = first_slice(p);; slice.from += slice.channels) {
    if (slice.from == p->out) return free(slice.weights);
    const int64_t n = next_slice(p, &slice), channels = slice.channels;
    for (int64_t row = 0; row < rows_of(p); row++)
      memcpy(slice.weights + row * n, weights + row * p->out + slice.from,
             channels * sizeof(REAL));
    SPECIALIZE(forward_slice, spikes, starts, p, &slice, y);
  }
}

/* The gradient of these weights, from that of y. */
void backward(const int32_t *spikes, const int32_t *starts, const REAL *grad, const Shape *p,
              REAL *of_weights) {
  for (Slice slice = first_slice(p);; slice.from += slice.channels) {
    if (slice.from == p->out) return free(slice.weights);
    const int64_t n = next_slice(p, &slice), channels = slice.channels;
    SPECIALIZE(backward_slice, spikes, starts, p, &slice, grad);
    for (int64_t row = 0; row < rows_of(p); row++)
      memcpy(of_weights + row * p->out + slice.from, slice.weights + row * n,
             channels * sizeof(REAL));
  }
}
