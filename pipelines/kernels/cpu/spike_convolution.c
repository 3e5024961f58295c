/* Convolution of spikes: a unit that is silent costs nothing.
 *
 * An output is the sum of the rows of weights that the spikes in its window select, and its gradient is
 * added to just these rows. Maps are [images, height, width, channels], weights [out, kernel, kernel,
 * in]; the kernel is odd, the stride one, the border zero.
 *
 * Spikes are listed row by row of a map as position * channels + channel. `starts` says where each
 * position begins, [images, height, width + 1].
 */

#include "moments.h"

typedef struct {
  int64_t images, height, width, in, out, kernel;
  int64_t limit; /* how many spikes the list has room for */
} Shape;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

enum { GROUP = 8 }; /* numbers that are listed at once */
typedef int32_t Group __attribute__((vector_size(GROUP * sizeof(int32_t))));

/* Which bits of a byte are set: the first ones count, the others may be anything. */
static void list_bits(Group *lists) {
  memset(lists, 0, (1 << GROUP) * sizeof(Group));
  for (int32_t byte = 0; byte < 1 << GROUP; byte++)
    for (int32_t bit = 0, n = 0; bit < GROUP; bit++)
      if (byte >> bit & 1) lists[byte][n++] = bit;
}

/* Bytes that are one where a number is not zero. Returns whether one is neither zero nor one. */
static int mark(const DTYPE *x, int64_t length, uint8_t *fired) {
  const DTYPE number = store(1);
  RAW one, other = 0;
  memcpy(&one, &number, sizeof(one));
  for (int64_t i = 0; i < length; i++) {
    RAW bits;
    memcpy(&bits, x + i, sizeof(bits));
    fired[i] = bits != 0;
    other |= bits ? bits ^ one : 0;
  }
  return other != 0;
}

/* List what is one. Returns how many there are; or -1 if the list might not hold them, or a number is
 * neither zero nor one. */
int64_t find_spikes(const DTYPE *x, const Shape *p, int32_t *spikes, int32_t *starts) {
  const int64_t rows = p->images * p->height, length = p->width * p->in;
  uint8_t *fired = calloc(length + GROUP, 1);
  Group lists[1 << GROUP];
  list_bits(lists);
  int64_t n = 0, row = 0;
  for (; row < rows && n + length + GROUP <= p->limit; row++, x += length) {
    if (mark(x, length, fired)) break;
    int32_t place = 0;
    for (int64_t j = 0; j < p->width; j++) {
      *starts++ = (int32_t)n;
      for (int64_t left = p->in; left > 0; left -= GROUP) {
        uint64_t bytes;
        memcpy(&bytes, fired + place, sizeof(bytes));
        if (left < GROUP) bytes &= ((uint64_t)1 << 8 * left) - 1;
        const uint64_t bits = bytes * 0x0102040810204080 >> 56; /* one of each byte */
        const Group found = lists[bits] + place;
        memcpy(spikes + n, &found, sizeof(found));
        n += __builtin_popcountll(bits);
        place += (int32_t)smaller(left, GROUP);
      }
    }
    *starts++ = (int32_t)n;
  }
  free(fired);
  return row < rows ? -1 : n;
}

static Vector *vectors(int64_t n) { return aligned_alloc(BYTES, n * sizeof(Vector)); }

/* Some channels of the output, at most n vectors of them, and the weights that lead there:
 * [kernel, in, kernel backwards, n vectors]. */
typedef struct {
  int64_t from, channels;
  Vector *weights;
} Slice;

static int64_t rows_of(const Shape *p) { return p->kernel * p->kernel * p->in; }

/* List what the windows of row i see of column j, as kernel row * in + channel. Returns how many there
 * are. The spikes of a position are copied in groups: a loop over them could not be foreseen. */
INLINE int64_t list_column(const int32_t *spikes, const int32_t *starts, const Shape *p, int64_t i,
                           int64_t j, int32_t *list) {
  const int64_t border = p->kernel / 2, from = i < border ? border - i : 0;
  const int64_t to = smaller(p->kernel, p->height + border - i);
  int64_t n = 0;
  for (int64_t m = from; m < to; m++) {
    const int32_t *start = starts + (i + m - border) * (p->width + 1) + j;
    const int32_t first = start[0], last = start[1], shift = (int32_t)((m - j) * p->in);
    int32_t at = first;
    do {
      Group group;
      memcpy(&group, spikes + at, sizeof(group));
      group += shift;
      memcpy(list + n + (at - first), &group, sizeof(group));
    } while ((at += GROUP) < last);
    n += last - first;
  }
  return n;
}

/* Add a row of the output, some vectors of it, to their moments. They find room in registers only when
 * the sums of the row are written. */
INLINE void add_row(const DTYPE *row, const Shape *p, Moment *total, int first, int64_t n,
                    int64_t channels) {
  Moment moment[n];
  memcpy(moment, total, sizeof(moment));
  for (int64_t j = 0; j < p->width; j++)
    for (int64_t v = 0; v < n; v++) {
      const int64_t lanes = smaller(LANES, channels - v * LANES);
      const Vector value = read(row + j * p->out + v * LANES, lanes);
      if (first && !j) moment[v].around = value;
      add(moment + v, value);
    }
  memcpy(total, moment, sizeof(moment));
}

/* A slice of the output for one image, whose spikes begin at `starts`, and, unless `total` is null, its
 * moments. The sums of the windows that see a column move on with it, in registers. */
INLINE void forward_slice(const int32_t *spikes, const int32_t *starts, const Shape *shape,
                          const Slice *whole, DTYPE *y, Moment *total, int first, int64_t k,
                          int64_t n, int64_t channels) {
  const Shape here = *shape, *p = &here; /* no write can change it, nor the slice */
  const Slice slice = *whole;
  const int64_t border = k / 2;
  int32_t list[k * p->in + GROUP];
  y += slice.from;
  for (int64_t i = 0; i < p->height; i++) {
    DTYPE *row = y + i * p->width * p->out;
    Vector sum[k * n];
    memset(sum, 0, sizeof(sum));
    for (int64_t j = 0; j < p->width + border; j++) {
      const int64_t seen = j < p->width ? list_column(spikes, starts, p, i, j, list) : 0;
      for (int64_t s = 0; s < seen; s++) {
        const Vector *weights = slice.weights + list[s] * k * n;
        for (int64_t v = 0; v < k * n; v++) sum[v] += weights[v];
      }
      for (int64_t v = 0; j >= border && v < n; v++)
        write(row + (j - border) * p->out + v * LANES, sum[v], smaller(LANES, channels - v * LANES));
      for (int64_t v = 0; v < k * n; v++) sum[v] = v < (k - 1) * n ? sum[v + n] : (Vector){0};
    }
    for (int64_t v = 0; total && v < n; v += 4)
      add_row(row + v * LANES, p, total + v, first && !i, smaller(4, n - v), channels - v * LANES);
  }
}

/* Call a function with its last arguments, kernel, vectors and channels of a slice, known to the compiler;
 * channels are not where the last vector is not full, nor are unusual kernels. */
#define CASE(function, vectors, ...)                                                          \
  case vectors:                                                                               \
    if (p->kernel == 3 && channels == vectors * LANES)                                        \
      function(__VA_ARGS__, 3, vectors, vectors * LANES);                                     \
    else if (p->kernel == 3) function(__VA_ARGS__, 3, vectors, channels);                     \
    else function(__VA_ARGS__, p->kernel, vectors, channels);                                 \
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

enum { WIDEST = BYTES / 8 }; /* vectors: three times as many sums stay in registers */

/* The weights of the channels of a slice. Returns how many vectors they fill. */
static int64_t fill(Slice *slice, const DTYPE *weights, const Shape *p) {
  const int64_t k = p->kernel, rows = rows_of(p), n = (slice->channels + LANES - 1) / LANES;
  memset(slice->weights, 0, rows * n * sizeof(Vector));
  REAL *to = (REAL *)slice->weights;
  for (int64_t m = 0; m < k; m++)
    for (int64_t c = 0; c < p->in; c++)
      for (int64_t l = k - 1; l >= 0; l--, to += n * LANES)
        for (int64_t o = 0; o < slice->channels; o++)
          to[o] = load(weights[(slice->from + o) * rows + (m * k + l) * p->in + c]);
  return n;
}

/* Also the moments of y, unless they are null. */
void forward(const int32_t *spikes, const int32_t *starts, const DTYPE *weights, const Shape *p,
             DTYPE *y, double *moments) {
  const int64_t of_image = p->height * (p->width + 1), length = p->height * p->width * p->out;
  Slice slice = {.weights = vectors(rows_of(p) * WIDEST)};
  if (moments) memset(moments, 0, MOMENTS * p->out * sizeof(double));
  for (; slice.from < p->out; slice.from += slice.channels) {
    const int64_t channels = slice.channels = smaller(p->out - slice.from, WIDEST * LANES);
    const int64_t n = fill(&slice, weights, p);
    Moment sums[WIDEST] = {0}, *total = moments ? sums : 0;
    for (int64_t image = 0; image < p->images; image++) {
      const int32_t *first = starts + image * of_image;
      SPECIALIZE(forward_slice, spikes, first, p, &slice, y + image * length, total, !image);
      for (int64_t v = 0; total && v < n; v++)
        gather_moment(moments + slice.from + v * LANES, total + v, p->out,
                      smaller(LANES, channels - v * LANES));
    }
  }
  free(slice.weights);
}

/* Backward, the gradients of a block of positions, LANES channels of them, lie in the nearest cache with a
 * border around: rows of one image, or whole images. The spikes of a channel are taken one after the
 * other, and the gradients of its kernel * kernel rows of weights stay in registers meanwhile. */
typedef struct {
  int64_t images, rows; /* as many as fit; the last block has fewer */
  int64_t high, wide;   /* of an image with its border */
  Vector *grad;         /* [images, high, wide] */
  int32_t *places;      /* spikes of each channel: where their windows begin in `grad` */
  int64_t capacity, *ends;
} Block;

enum { NEAREST = 29000 }; /* bytes */

static Block new_block(const Shape *p) {
  const int64_t around = p->kernel / 2 * 2, wide = p->width + around;
  const int64_t fit = NEAREST / (wide * (int64_t)sizeof(Vector)); /* rows with their border */
  const int64_t images = smaller(fit / (p->height + around), p->images);
  const int64_t rows = images ? p->height : smaller(fit > around ? fit - around : 1, p->height);
  Block b = {.images = images ? images : 1, .rows = rows, .high = rows + around, .wide = wide};
  b.grad = vectors(b.images * b.high * wide);
  memset(b.grad, 0, b.images * b.high * wide * sizeof(Vector));
  b.capacity = b.images * rows * p->width;
  b.places = malloc(b.capacity * p->in * sizeof(int32_t));
  b.ends = malloc(p->in * sizeof(int64_t));
  return b;
}

static void free_block(const Block *b) {
  free(b->grad);
  free(b->places);
  free(b->ends);
}

/* The spikes of `images` images from `image` on, rows `from` to `to`, by channel. */
static void sort(const int32_t *spikes, const int32_t *starts, const Shape *p, const Block *b,
                 int64_t image, int64_t images, int64_t from, int64_t to) {
  const int64_t in = p->in, around = p->kernel / 2 * 2;
  const uint64_t inverse = ((uint64_t)1 << 40) / in + 1; /* quicker than a division, and exact */
  for (int64_t c = 0; c < in; c++) b->ends[c] = c * b->capacity;
  for (int64_t k = 0; k < images; k++)
    for (int64_t i = from; i < to; i++) {
      const int32_t *start = starts + ((image + k) * p->height + i) * (p->width + 1);
      const int32_t *end = spikes + start[p->width];
      const int64_t place = (k * b->high + i - from + around) * b->wide + around;
      for (const int32_t *at = spikes + start[0]; at < end; at++) {
        const int64_t j = (int64_t)(*at * inverse >> 40);
        b->places[b->ends[*at - j * in]++] = (int32_t)(place + j);
      }
    }
}

/* Fetch n <= LANES channels of the gradients that the spikes of the same block meet. */
INLINE void fetch(const DTYPE *grad, const Shape *p, const Block *b, int64_t image, int64_t images,
                  int64_t from, int64_t n) {
  const int64_t border = p->kernel / 2;
  for (int64_t k = 0; k < images; k++)
    for (int64_t h = 0; h < b->high; h++) {
      const int64_t i = from + h - border;
      Vector *to = b->grad + (k * b->high + h) * b->wide + border;
      const DTYPE *x = grad + ((image + k) * p->height + i) * p->width * p->out;
      if (i < 0 || i >= p->height)
        memset(to, 0, p->width * sizeof(Vector));
      else
        for (int64_t j = 0; j < p->width; j++) to[j] = read(x + j * p->out, n);
    }
}

/* Add to the gradients of some rows of a kernel of one channel. */
INLINE void add_up(const Vector *grad, const int32_t *at, const int32_t *end, int64_t wide, int64_t k,
                   int64_t rows, Vector *kernel) {
  Vector sum[rows * k];
  memcpy(sum, kernel, sizeof(sum));
  for (; at < end; at++)
    for (int64_t m = 0; m < rows; m++)
      for (int64_t l = 0; l < k; l++) sum[m * k + l] += grad[*at - m * wide - l];
  memcpy(kernel, sum, sizeof(sum));
}

/* Add to the gradients of LANES channels of the output, [in, kernel, kernel]. */
static void add_block(const Shape *p, const Block *b, Vector *sums) {
  const int64_t k = p->kernel, wide = b->wide;
  for (int64_t c = 0; c < p->in; c++, sums += k * k) {
    const int32_t *at = b->places + c * b->capacity, *end = b->places + b->ends[c];
    if (k == 3)
      add_up(b->grad, at, end, wide, 3, 3, sums);
    else
      for (int64_t m = 0; m < k; m++)
        if (k == 5) add_up(b->grad - m * wide, at, end, wide, 5, 1, sums + m * k);
        else if (k == 1) add_up(b->grad, at, end, wide, 1, 1, sums);
        else add_up(b->grad - m * wide, at, end, wide, k, 1, sums + m * k);
  }
}

/* The gradient of the weights, from that of y. */
void backward(const int32_t *spikes, const int32_t *starts, const DTYPE *grad, const Shape *p,
              DTYPE *of_weights) {
  const int64_t size = p->kernel * p->kernel, parts = (p->out + LANES - 1) / LANES;
  Vector *sums = vectors(parts * rows_of(p));
  memset(sums, 0, parts * rows_of(p) * sizeof(Vector));
  const Block block = new_block(p), *b = &block;
  for (int64_t image = 0; image < p->images; image += b->images)
    for (int64_t from = 0; from < p->height; from += b->rows) {
      const int64_t images = smaller(b->images, p->images - image);
      sort(spikes, starts, p, b, image, images, from, smaller(from + b->rows, p->height));
      for (int64_t part = 0; part < parts; part++) {
        const int64_t n = smaller(LANES, p->out - part * LANES);
        if (n == LANES) fetch(grad + part * LANES, p, b, image, images, from, LANES);
        else fetch(grad + part * LANES, p, b, image, images, from, n);
        add_block(p, b, sums + part * rows_of(p));
      }
    }
  free_block(b);
  for (int64_t o = 0; o < p->out; o++)
    for (int64_t m = 0; m < size; m++)
      for (int64_t c = 0; c < p->in; c++, of_weights++)
        *of_weights = store(sums[(o / LANES * p->in + c) * size + m][o % LANES]);
  free(sums);
}
